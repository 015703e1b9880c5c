// What a target needs that only holds precompiled headers.
