// Optimizer steps over all parameters in one launch: the twin of cpu.rs.

// Values that a block steps over.
#define CHUNK 4096

// Numbers that are too small to move a parameter become 0, as on the CPU.
__device__ inline float flushed(float x, float least) { return fabsf(x) < least ? 0.0f : x; }

#define LEAST_GRAD 1e-17f
#define LEAST_MOMENT 1e-30f

// A parameter with its gradient and its state; first_block is the number of its first chunk.
struct Slot {
    float *param;
    const float *grad;
    float *first, *second;
    u64 n, first_block;
};

// The slot that this block belongs to.
__device__ Slot own_slot(const Slot *slots, u32 n_slots) {
    u32 low = 0, high = n_slots;
    while (high - low > 1) {
        u32 middle = (low + high) / 2;
        if (slots[middle].first_block <= blockIdx.x) low = middle; else high = middle;
    }
    return slots[low];
}

struct AdamRates {
    float beta1, beta2, new1, new2, eps, weight_decay, rate, root_correction;
};

extern "C" __global__ void adam(const Slot *slots, u32 n_slots, AdamRates rates) {
    Slot s = own_slot(slots, n_slots);
    u64 start = (blockIdx.x - s.first_block) * CHUNK;
    u64 end = start + CHUNK < s.n ? start + CHUNK : s.n;
    for (u64 i = start + threadIdx.x; i < end; i += THREADS) {
        float p = s.param[i];
        float g = flushed(s.grad[i] + rates.weight_decay * p, LEAST_GRAD);
        float m = flushed(rates.beta1 * s.first[i] + rates.new1 * g, LEAST_MOMENT);
        float v = flushed(rates.beta2 * s.second[i] + rates.new2 * g * g, LEAST_MOMENT);
        s.first[i] = m;
        s.second[i] = v;
        s.param[i] = p - rates.rate * m / (sqrtf(v) * rates.root_correction + rates.eps);
    }
}

struct SgdRates {
    float learning_rate, weight_decay, old_velocity, along_grad, along_velocity;
};

extern "C" __global__ void sgd(const Slot *slots, u32 n_slots, SgdRates rates) {
    Slot s = own_slot(slots, n_slots);
    u64 start = (blockIdx.x - s.first_block) * CHUNK;
    u64 end = start + CHUNK < s.n ? start + CHUNK : s.n;
    for (u64 i = start + threadIdx.x; i < end; i += THREADS) {
        float p = s.param[i], g = s.grad[i] + rates.weight_decay * p;
        float u = flushed(rates.old_velocity * s.first[i] + g, LEAST_MOMENT);
        s.first[i] = u;
        s.param[i] = p - rates.learning_rate * (rates.along_grad * g + rates.along_velocity * u);
    }
}
