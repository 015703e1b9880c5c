#include "config/detail/foreign.hpp"

#include <algorithm>
#include <array>

#include "config/detail/keys.hpp"
#include "lamina/base/text.hpp"

namespace lamina::config::detail {
namespace {

constexpr std::array table{
    Foreign{"n_layer n_layers num_layers num_hidden_layers num_transformer_layers depth", "model.layers", ""},
    Foreign{"n_head n_heads num_heads num_attention_heads", "model.heads", ""},
    Foreign{"n_embd n_embed d_model dim model_dim hidden_size hidden_dim embedding_dim width", "model.hidden", ""},
    Foreign{
        "block_size seq_len seq_length sequence_length max_seq_len max_seq_length max_sequence_length context_length "
        "n_ctx n_positions max_position_embeddings",
        "model.context", ""},
    Foreign{"vocab_size padded_vocab_size", "model.vocab",
            "left out, it is the tokenizer's; no padding to a multiple is needed"},
    Foreign{"make_vocab_size_divisible_by pad_vocab_size_to_multiple_of", "",
            "padding of the vocabulary is done inside and never seen"},
    Foreign{"ffn_hidden_size intermediate_size n_inner d_ff dim_feedforward ff_dim mlp_dim", "model.ff", ""},
    Foreign{"normalization norm_type norm_first pre_norm", "model.norm", "layer norm is \"pre\" or \"post\""},
    Foreign{"activation_function hidden_act act_fn activation_func", "model.activation", ""},
    Foreign{"position_embedding_type pos_emb", "model.positions", ""},
    Foreign{"tie_word_embeddings tie_embeddings weight_tying", "model.tied", ""},
    Foreign{"untie_embeddings_and_output_weights", "model.tied", "with the opposite sense"},
    Foreign{
        "hidden_dropout attention_dropout attn_dropout resid_dropout embd_dropout resid_pdrop embd_pdrop attn_pdrop "
        "dropout_rate",
        "model.dropout", "one probability serves embedding, attention and residual"},
    Foreign{"init_from pretrained pretrained_model model_name_or_path load_weights", "model.init",
            "a safetensors file or a Hugging Face directory"},
    Foreign{"model_type architecture arch", "model.kind", ""},
    Foreign{"bias use_bias add_bias_linear", "", "a GPT here has GPT-2's biases; model.head_bias adds one to the head"},
    Foreign{"init_method_std initializer_range init_std", "",
            "initial values are GPT-2's: normal 0.02, residual projections scaled by 1/sqrt(2 layers)"},
    Foreign{"is_causal", "model.causal", ""},

    Foreign{"batch_size", "batch.global",
            "batch.global counts the samples of one optimizer step over all replicas, batch.micro those of one "
            "micro-batch; "
            "nanoGPT's and PyTorch's batch_size is batch.micro"},
    Foreign{"train_batch_size global_batch_size effective_batch_size total_batch_size", "batch.global", ""},
    Foreign{"train_micro_batch_size_per_gpu micro_batch_size microbatch_size per_device_train_batch_size "
            "device_batch_size local_batch_size",
            "batch.micro", ""},
    Foreign{"batch_size_per_replica batch_size_per_gpu", "batch.per_replica", ""},
    Foreign{
        "gradient_accumulation_steps gradient_accumulation accumulate_grad_batches accumulation_steps grad_accum_steps "
        "num_microbatches pipeline_parallel_microbatches",
        "batch.micro",
        "the accumulation count is not set but derived: batch.global / (mesh.dp * batch.micro), rounded up"},

    Foreign{"max_iters train_iters max_steps num_steps total_steps num_train_steps num_iterations iterations iters "
            "training_steps",
            "run.steps", ""},
    Foreign{"epochs num_epochs num_train_epochs max_epochs", "run.steps",
            "training is counted in optimizer steps: epochs * samples / batch.global"},
    Foreign{"out_dir output_dir save_dir dump_folder default_root_dir work_dir log_dir logdir", "run.dir", ""},
    Foreign{"random_seed manual_seed", "run.seed", ""},
    Foreign{"deterministic deterministic_mode", "run.determinism", ""},

    Foreign{"learning_rate max_lr base_lr peak_lr", "optimizer.lr", ""},
    Foreign{"optim optimizer_type optimizer_name", "optimizer.kind", ""},
    Foreign{"beta1 beta2 adam_beta1 adam_beta2 adam_betas", "optimizer.betas", "both in one list: betas = [0.9, 0.95]"},
    Foreign{"adam_eps adam_epsilon epsilon", "optimizer.eps", ""},
    Foreign{"wd decay l2", "optimizer.weight_decay", ""},
    Foreign{
        "grad_clip clip_grad gradient_clipping max_grad_norm gradient_clip_val clip_grad_norm max_norm grad_norm_clip",
        "optimizer.clip_norm", ""},

    Foreign{"warmup_iters warmup lr_warmup_iters lr_warmup_steps num_warmup_steps warmup_num_steps",
            "lr_schedule.warmup_steps", ""},
    Foreign{"warmup_ratio lr_warmup_fraction warmup_fraction", "lr_schedule.warmup_steps",
            "in steps, not as a fraction"},
    Foreign{"lr_decay_iters lr_decay_steps decay_iters total_num_steps", "lr_schedule.decay_steps", ""},
    Foreign{"decay_lr lr_decay_style lr_scheduler_type lr_scheduler scheduler decay_type", "lr_schedule.kind", ""},
    Foreign{"min_lr lr_min eta_min warmup_min_lr", "lr_schedule.min", ""},

    Foreign{"dtype mixed_precision params_dtype torch_dtype", "precision.compute", "\"f32\" or \"bf16\""},
    Foreign{"bf16 bfloat16 use_bf16 fp16 float16 amp fp32", "precision.compute",
            "\"f32\" or \"bf16\"; there is no fp16 and no loss scale"},

    Foreign{
        "tensor_model_parallel_size tensor_parallel_size tensor_parallel_degree tp_size tp_degree model_parallel_size",
        "mesh.tp", ""},
    Foreign{"pipeline_model_parallel_size pipeline_parallel_size pipeline_parallel_degree pp_size pp_degree num_stages",
            "mesh.pp", ""},
    Foreign{"data_parallel_size data_parallel_degree data_parallel_replicate_degree dp_size world_size num_gpus "
            "nproc_per_node "
            "nnodes num_nodes devices",
            "mesh.dp", "the number of ranks comes from mpirun or srun; mesh.dp = \"auto\" takes what is left of them"},
    Foreign{"zero_optimization zero_stage use_distributed_optimizer fsdp data_parallel_shard_degree sharding_strategy",
            "parallel.zero", "the ZeRO stage, 0 to 3"},
    Foreign{"zero_optimization.stage", "parallel.zero", ""},
    Foreign{"zero_optimization.reduce_bucket_size zero_optimization.allgather_bucket_size reduce_bucket_size "
            "allgather_bucket_size bucket_cap_mb ddp_bucket_size bucket_size",
            "parallel.bucket", "as text with a unit, such as \"25 MiB\""},
    Foreign{"overlap_comm overlap_grad_reduce zero_optimization.overlap_comm", "parallel.overlap", ""},
    Foreign{"zero_optimization.offload_optimizer zero_optimization.offload_param offload_optimizer cpu_offload",
            "placement.rules", "offload is a placement: { layers = \"...\", what = \"optimizer\", device = \"cpu\" }"},
    Foreign{"backend distributed_backend comm_backend", "parallel.transport", ""},
    Foreign{"pipeline_schedule pipeline_parallel_schedule schedule_type", "pipeline.schedule", ""},
    Foreign{"num_layers_per_virtual_pipeline_stage virtual_pipeline_model_parallel_size num_chunks", "pipeline.chunks",
            ""},
    Foreign{"split_spec pipeline_parallel_split_points partition_method", "pipeline.stages", ""},

    Foreign{"activation_checkpointing gradient_checkpointing recompute_granularity recompute_activations remat "
            "checkpoint_activations activation_checkpoint",
            "memory.recompute", ""},
    Foreign{"device_type accelerator device_map", "placement.default", ""},
    Foreign{"num_threads omp_num_threads", "device.threads", ""},
    Foreign{"compile use_compile torch_compile", "",
            "there is nothing to compile: the run is planned as a whole; parallel.fuse switches fusion"},

    Foreign{"dataset data_path data_dir train_file train_files train_data train_data_path train_bin dataset_path",
            "data.train", "a list of files or patterns"},
    Foreign{"valid_file validation_file valid_data valid_data_path val val_file val_bin eval_data", "data.valid",
            "a list of files or patterns"},
    Foreign{"val_fraction validation_split", "data.valid_fraction", ""},
    Foreign{"tokenizer_model tokenizer_path tokenizer_name tokenizer_type vocab_file merge_file", "data.tokenizer",
            "bytes, or a tokenizer.json"},
    Foreign{"num_workers dataloader_num_workers", "", "the data are prefetched by one I/O thread; nothing to set"},

    Foreign{"eval_interval eval_steps val_check_interval eval_every", "eval.every_steps", ""},
    Foreign{"eval_iters limit_val_batches eval_batches", "eval.batches", ""},
    Foreign{"save_interval save_steps checkpoint_interval save_every checkpoint_every interval",
            "checkpoint.every_steps", ""},
    Foreign{"save_total_limit keep_last_n keep_latest_k max_to_keep", "checkpoint.keep", ""},
    Foreign{"always_save_checkpoint save_last", "", "the last step is always saved"},
    Foreign{"resume resume_from_checkpoint load load_checkpoint", "run.dir",
            "a run resumes by itself from the newest valid checkpoint in run.dir; --fresh starts anew"},
    Foreign{"async_save async_mode", "checkpoint.async", ""},
    Foreign{"log_interval logging_steps steps_per_print log_freq log_every_n_steps", "log.every_steps", ""},
    Foreign{"wandb wandb_log wandb_project report_to", "log.tensorboard",
            "metrics.jsonl is always written, a TensorBoard file if this is true"},
    Foreign{"profile profiler profile_steps", "log.trace_steps", "a list of steps"},
};

std::string normal(std::string_view s) {
  std::string r(s);
  std::ranges::transform(r, r.begin(), [](char c) {
    if (c == '-') return '_';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  if (r.starts_with("__")) r.erase(0, 2);  // copied from a command line
  return r;
}

Foreign const* find_word(std::string const& word) {
  for (auto const& row : table) {
    auto const words = split(row.words, ' ');
    if (std::ranges::find(words, word) != words.end()) return &row;
  }
  return nullptr;
}

}  // namespace

std::span<Foreign const> all_foreign() { return table; }

Foreign const* find_foreign(std::string_view section, std::string_view name) {
  auto const word = normal(name);
  if (!section.empty()) {
    if (auto const* row = find_word(text(normal(section), '.', word))) return row;
    // [optimizer] name = ... and the like: the section is ours, the key is someone's.
    if (auto const* row = find_word(text(normal(section), '_', word))) return row;
  }
  return find_word(word);
}

std::string explain(Foreign const& foreign) {
  if (foreign.key.empty()) return text("leave it out: ", foreign.advice);
  auto const dot = foreign.key.find('.');
  auto const* key = find_key(foreign.key.substr(0, dot), foreign.key.substr(dot + 1));
  auto const& advice = foreign.advice.empty() && key ? key->help : foreign.advice;
  return text("here it is ", foreign.key, " (", advice, ')');
}

}  // namespace lamina::config::detail
