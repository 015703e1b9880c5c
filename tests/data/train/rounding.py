def short(x, digits):
    """Lists and dictionaries with their floats rounded to so many digits: small files that still say all that f32 holds."""
    if isinstance(x, float):
        return float(f"{x:.{digits}g}")
    if isinstance(x, dict):
        return {k: short(v, digits) for k, v in x.items()}
    return [short(v, digits) for v in x] if isinstance(x, list) else x
