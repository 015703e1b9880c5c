#include "vendor/hdf5/hdf5.hpp"

#include <hdf5.h>

#include <array>
#include <cerrno>
#include <exception>
#include <set>
#include <source_location>
#include <string_view>

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::vendor::hdf5 {
namespace {

/// The innermost description of HDF5's error stack.
std::string last_error() {
  std::string words = "no description";
  auto const take = [](unsigned, H5E_error2_t const* e, void* out) -> herr_t {
    if (e->desc != nullptr && *e->desc != '\0') *static_cast<std::string*>(out) = e->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, take, &words);
  return words;
}

/// HDF5 keeps the errno of a failed write or extension only in its words.
bool is_lack_of_space(std::string const& words) {
  for (int const e : {ENOSPC, EDQUOT, EFBIG}) {
    if (words.find(text("errno = ", e, ",")) != std::string::npos) return true;
  }
  return false;
}

template <class Status>
Status check(Status status, char const* call, std::string const& file,
             std::source_location at = std::source_location::current()) {
  if (status >= 0) return status;
  auto const words = last_error();
  fail({.code = is_lack_of_space(words) ? "vendor.hdf5.no_space" : "vendor.hdf5.call",
        .subject = text(file, ": ", call),
        .found = words,
        .expected = "a call that succeeds",
        .fix = "look for a full disk, missing permission or a damaged file; h5dump -H shows what HDF5 sees"},
       at);
}
#define LAMINA_HDF5(call) check(call, #call, file)

[[noreturn]] void refuse(std::string const& file, std::string const& what) {
  fail({.code = "vendor.hdf5.layout",
        .subject = file,
        .found = what,
        .expected = "hard-linked contiguous datasets of plain numbers, as Lamina writes them",
        .fix = "use a file that Lamina wrote, or copy the tensors into one"});
}

/// An HDF5 identifier and the function that closes it.
class Handle {
 public:
  Handle(hid_t id, herr_t (*closer)(hid_t)) : id_(id), close_(closer) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle const&) = delete;
  Handle& operator=(Handle const&) = delete;
  operator hid_t() const { return id_; }

  /// Closing a file writes: its status counts.
  herr_t close() {
    auto const id = id_;
    id_ = -1;
    return close_(id);
  }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

/// HDF5 prints its error stack unless told not to; our messages carry what matters.
void open_library() {
  H5open();
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

hid_t stored_type(DType t) {
  switch (t) {
    case DType::f32:
      return H5T_IEEE_F32LE;
    case DType::f64:
      return H5T_IEEE_F64LE;
    case DType::i32:
      return H5T_STD_I32LE;
    case DType::i64:
      return H5T_STD_I64LE;
    case DType::u8:
      return H5T_STD_U8LE;
    case DType::u32:
      return H5T_STD_U32LE;
    case DType::bf16:
    case DType::u16:
      break;
  }
  return H5T_STD_U16LE;
}

/// Access without file locks (NFS without a lock daemon refuses them; the run directory has a lock of its own).
hid_t access_list(bool create) {
  hid_t const access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7) && !(H5_VERS_MINOR == 12 && H5_VERS_RELEASE < 1)
  H5Pset_file_locking(access, false, true);
#endif
  if (create) H5Pset_alignment(access, 64 << 10, 4096);
  return access;
}

void write_text_attribute(hid_t object, char const* name, std::string const& value, std::string const& file) {
  Handle const type(LAMINA_HDF5(H5Tcopy(H5T_C_S1)), H5Tclose);
  LAMINA_HDF5(H5Tset_size(type, value.size()));
  Handle const scalar(LAMINA_HDF5(H5Screate(H5S_SCALAR)), H5Sclose);
  Handle const attribute(LAMINA_HDF5(H5Acreate2(object, name, type, scalar, H5P_DEFAULT, H5P_DEFAULT)), H5Aclose);
  LAMINA_HDF5(H5Awrite(attribute, type, value.data()));
}

/// The attribute "dtype" if it is a short fixed-length string, else "".
std::string read_dtype_attribute(hid_t dataset, std::string const& file) {
  if (LAMINA_HDF5(H5Aexists(dataset, "dtype")) == 0) return {};
  Handle const attribute(LAMINA_HDF5(H5Aopen(dataset, "dtype", H5P_DEFAULT)), H5Aclose);
  Handle const type(LAMINA_HDF5(H5Aget_type(attribute)), H5Tclose);
  Handle const space(LAMINA_HDF5(H5Aget_space(attribute)), H5Sclose);
  auto const size = H5Tget_size(type);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) > 0 || size > 16) refuse(file, "attribute dtype");
  if (H5Sget_simple_extent_type(space) != H5S_SCALAR) refuse(file, "attribute dtype is not one string");
  std::string value(size, '\0');
  LAMINA_HDF5(H5Aread(attribute, type, value.data()));
  while (!value.empty() && value.back() == '\0') value.pop_back();
  return value;
}

std::int64_t create_dataset(hid_t in, Dataset const& d, std::string const& file) {
  std::array<hsize_t, Shape::max_dims> dims{};
  for (int i = 0; i < d.spec.shape.ndim(); ++i) dims[i] = static_cast<hsize_t>(d.spec.shape[i]);
  Handle const space(
      LAMINA_HDF5(d.spec.shape.ndim() == 0 ? H5Screate(H5S_SCALAR)
                                           : H5Screate_simple(d.spec.shape.ndim(), dims.data(), nullptr)),
      H5Sclose);
  Handle const properties(LAMINA_HDF5(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
  LAMINA_HDF5(H5Pset_layout(properties, H5D_CONTIGUOUS));
  LAMINA_HDF5(H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY));
  LAMINA_HDF5(H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER));
  LAMINA_HDF5(H5Pset_obj_track_times(properties, false));
  Handle dataset(LAMINA_HDF5(H5Dcreate2(in, d.path.c_str(), stored_type(d.spec.dtype), space, H5P_DEFAULT, properties,
                                        H5P_DEFAULT)),
                 H5Dclose);
  if (d.spec.dtype == DType::bf16) write_text_attribute(dataset, "dtype", "bf16", file);
  auto const offset = H5Dget_offset(dataset);
  LAMINA_HDF5(dataset.close());
  if (d.spec.count() == 0) return 0;
  if (offset == HADDR_UNDEF) refuse(file, text(d.path, " has no place in the file"));
  return static_cast<std::int64_t>(offset);
}

void create_groups(hid_t in, std::vector<Dataset> const& datasets, std::string const& file) {
  Handle const properties(LAMINA_HDF5(H5Pcreate(H5P_GROUP_CREATE)), H5Pclose);
  LAMINA_HDF5(H5Pset_obj_track_times(properties, false));
  std::set<std::string> made;
  for (auto const& d : datasets) {
    auto const end = d.path.rfind('/');
    if (end == 0 || end == std::string::npos || d.path.find('/', 1) != end)
      refuse(file, text("dataset path '", d.path, "'"));
    auto const name = d.path.substr(0, end);
    if (!made.insert(name).second) continue;
    Handle const group(LAMINA_HDF5(H5Gcreate2(in, name.c_str(), H5P_DEFAULT, properties, H5P_DEFAULT)), H5Gclose);
  }
}

DType type_of(hid_t dataset, std::string const& name, std::string const& file) {
  Handle const type(LAMINA_HDF5(H5Dget_type(dataset)), H5Tclose);
  for (auto const t : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::u16, DType::u32}) {
    if (H5Tequal(type, stored_type(t)) > 0)
      return t == DType::u16 && read_dtype_attribute(dataset, file) == "bf16" ? DType::bf16 : t;
  }
  refuse(file, text(name, " has another element type"));
}

Dataset describe_dataset(hid_t in, std::string const& name, std::string const& file) {
  Handle const dataset(LAMINA_HDF5(H5Dopen2(in, name.c_str(), H5P_DEFAULT)), H5Dclose);
  Handle const properties(LAMINA_HDF5(H5Dget_create_plist(dataset)), H5Pclose);
  if (H5Pget_layout(properties) != H5D_CONTIGUOUS) refuse(file, text(name, " is not contiguous"));
  if (H5Pget_external_count(properties) != 0) refuse(file, text(name, " keeps its data in another file"));
  Handle const space(LAMINA_HDF5(H5Dget_space(dataset)), H5Sclose);
  auto const ndim = LAMINA_HDF5(H5Sget_simple_extent_ndims(space));
  if (ndim > Shape::max_dims) refuse(file, text(name, " has ", ndim, " dims"));
  std::array<hsize_t, Shape::max_dims> dims{};
  if (ndim > 0) LAMINA_HDF5(H5Sget_simple_extent_dims(space, dims.data(), nullptr));
  Dataset d{.path = "/" + name, .spec = {.dtype = type_of(dataset, name, file), .shape = {}}, .offset = 0};
  for (int i = 0; i < ndim; ++i) d.spec.shape.push_back(static_cast<std::int64_t>(dims[i]));
  auto const offset = H5Dget_offset(dataset);
  if (offset != HADDR_UNDEF && d.spec.count() > 0) d.offset = static_cast<std::int64_t>(offset);
  return d;
}

struct Visit {
  std::string const& file;
  std::vector<Dataset> found;
  std::exception_ptr error;  // an exception must not cross the library
};

#if H5_VERSION_GE(1, 12, 0)
using LinkInfo = H5L_info2_t;
auto const visit_links = [](hid_t in, H5L_iterate2_t f, void* data) {
  return H5Lvisit2(in, H5_INDEX_NAME, H5_ITER_INC, f, data);
};
#else
using LinkInfo = H5L_info_t;
auto const visit_links = [](hid_t in, H5L_iterate_t f, void* data) {
  return H5Lvisit(in, H5_INDEX_NAME, H5_ITER_INC, f, data);
};
#endif

herr_t visit_link(hid_t in, char const* name, LinkInfo const* info, void* data) {
  auto& visit = *static_cast<Visit*>(data);
  auto const& file = visit.file;
  try {
    if (info->type != H5L_TYPE_HARD) refuse(file, text("'", name, "' is a soft or external link"));
    Handle const object(LAMINA_HDF5(H5Oopen(in, name, H5P_DEFAULT)), H5Oclose);
    auto const kind = H5Iget_type(object);
    if (kind == H5I_DATASET) {
      visit.found.push_back(describe_dataset(in, name, file));
    } else if (kind != H5I_GROUP) {
      refuse(file, text("'", name, "' is neither group nor dataset"));
    }
    return 0;
  } catch (...) {
    visit.error = std::current_exception();
    return -1;
  }
}

}  // namespace

bool available() { return true; }

std::string version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return text(major, ".", minor, ".", release);
}

std::vector<std::int64_t> create(std::string const& file, std::vector<Dataset> const& datasets) {
  open_library();
  Handle const access(access_list(true), H5Pclose);
  Handle handle(LAMINA_HDF5(H5Fcreate(file.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, access)), H5Fclose);
  create_groups(handle, datasets, file);
  std::vector<std::int64_t> offsets;
  for (auto const& d : datasets) offsets.push_back(create_dataset(handle, d, file));
  LAMINA_HDF5(handle.close());
  return offsets;
}

std::vector<Dataset> describe(std::string const& file) {
  open_library();
  Handle const access(access_list(false), H5Pclose);
  Handle const handle(LAMINA_HDF5(H5Fopen(file.c_str(), H5F_ACC_RDONLY, access)), H5Fclose);
  Visit visit{.file = file, .found = {}, .error = nullptr};
  auto const status = visit_links(handle, visit_link, &visit);
  if (visit.error) std::rethrow_exception(visit.error);
  check(status, "H5Lvisit", file);
  return visit.found;
}

}  // namespace lamina::vendor::hdf5
