// The mask of dropout: the twin of cpu.rs, of the same bits.

// Philox4x32 with 10 rounds (Salmon et al. 2011).
__device__ inline void philox(u32 key0, u32 key1, u32 (&c)[4]) {
    for (int round = 0; round < 10; round++) {
        u64 a = (u64)c[0] * 0xD2511F53u, b = (u64)c[2] * 0xCD9E8D57u;
        u32 next[4] = {(u32)(b >> 32) ^ c[1] ^ key0, (u32)b, (u32)(a >> 32) ^ c[3] ^ key1, (u32)a};
        for (int k = 0; k < 4; k++) c[k] = next[k];
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

// y = x scale, or 0 where the 16 random bits of a place are below threshold. 16 blocks of the
// stream cover 128 places: first the low halves of the blocks' first words, then the high halves,
// and so on. A thread a block.
extern "C" __global__ void dropout(const float *x, float *y, u32 key0, u32 key1, u32 threshold,
                                   float scale, u32 n) {
    u32 block = number(), first = block / 16 * 128 + block % 16;
    if (first >= n) return;
    u32 words[4] = {block, 0, 0, 0};
    philox(key0, key1, words);
    for (u32 k = 0; k < 8; k++) {
        u32 at = first + k * 16, bits = words[k / 2] >> (k % 2 * 16) & 0xffff;
        if (at < n) y[at] = bits < threshold ? 0.0f : x[at] * scale;
    }
}
