"""Prints the first initial values of a parameter (tests/unit/models/initial_test.cpp), written from the definitions alone:
Philox4x32-10 (Salmon et al., 2011) with key = seed and counter = (0, 0, step 0, operation), operation = the two halves of
the name's XXH3-64 xor-ed, and Box-Muller. Needs the package xxhash.

    python3 initial_values.py blocks.0.attn.qkv.weight 1 0.02
"""
import math
import sys

import xxhash


def philox(key, counter):
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    c = list(counter)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


name, seed, stddev = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
h = xxhash.xxh3_64_intdigest(name.encode())
operation = (h ^ (h >> 32)) & 0xFFFFFFFF
words = philox(seed, [0, 0, 0, operation])
values = []
for a, b in (words[:2], words[2:]):
    r, angle = math.sqrt(-2 * math.log((a + 0.5) * 2**-32)), 2 * math.pi * b * 2**-32
    values += [stddev * r * math.cos(angle), stddev * r * math.sin(angle)]
print("operation", operation, "values", values)
