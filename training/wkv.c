/* The RWKV-7 recurrence for training, forward and backward, fp32, one (batch, head) pair a task.
 *
 * All sequences are (B, T, H, 64) and contiguous. The state is kept transposed, S[key][value], so that every
 * inner loop runs over 64 contiguous values:
 *
 *     S_t = S_{t-1} diag(w_t) + (S_{t-1} a_t) b_t^T + v_t k_t^T          y_t = S_t r_t
 *
 * The product S a of the next step is gathered while S is written, so a step reads S once. The forward pass
 * leaves S at the start of every CHUNK tokens; the backward pass rebuilds the states in between from it.
 */
#include <stdlib.h>
#include <string.h>

#define N 64
#define CHUNK 16
#define PARTS 4
typedef float Row[N] __attribute__((aligned(64)));
typedef float Lanes __attribute__((vector_size(64))); /* a quarter of a row: one register of AVX-512, two of AVX2 */

static inline float sum(Lanes x) {
    typedef float Half __attribute__((vector_size(32)));
    typedef float Quarter __attribute__((vector_size(16)));
    union { Lanes all; Half halves[2]; } one = {x};
    union { Half all; Quarter quarters[2]; } two = {one.halves[0] + one.halves[1]};
    Quarter four = two.quarters[0] + two.quarters[1];
    return (four[0] + four[2]) + (four[1] + four[3]);
}

static inline void step(Row *S, Row *into, float *sa, const float *w, const float *k, const float *v, const float *b,
                        const float *r, const float *a_next, float *y) {
    Row next = {0}, out = {0};
    for (int j = 0; j < N; j++)
        for (int i = 0; i < N; i++) {
            float s = S[j][i] * w[j] + sa[i] * b[j] + v[i] * k[j];
            into[j][i] = s;
            out[i] += s * r[j];
            next[i] += s * a_next[j];
        }
    memcpy(y, out, sizeof(Row));
    memcpy(sa, next, sizeof(Row));
}

/* states: (B, H, ceil(T / CHUNK), 64, 64), the transposed state before each chunk's first token. */
void wkv_forward(int B, int T, int H, const float *r, const float *w, const float *k, const float *v, const float *a,
                 const float *b, float *y, float *states) {
    const int chunks = (T + CHUNK - 1) / CHUNK;
    const long stride = (long)H * N;
#pragma omp parallel for schedule(dynamic)
    for (int bh = 0; bh < B * H; bh++) {
        const long start = ((long)(bh / H) * T * H + bh % H) * N;
        Row S[N] = {0}, sa = {0}, none = {0};
        for (int t = 0; t < T; t++) {
            const long at = start + t * stride;
            if (t % CHUNK == 0) memcpy(states + ((long)bh * chunks + t / CHUNK) * N * N, S, sizeof(S));
            step(S, S, sa, w + at, k + at, v + at, b + at, r + at, t + 1 < T ? a + at + stride : none, y + at);
        }
    }
}

/* One token backward: from dS, the gradient of the state after it, to that of the state before it, in place. */
static inline void back(const Row *before, const Row *after, Row *dS, const float *sa, const float *r, const float *w,
                        const float *k, const float *v, const float *a, const float *b, const float *dy, float *dr,
                        float *dw, float *dk, float *dv, float *da, float *db) {
    Lanes dvalue[PARTS] = {0}, dsa[PARTS] = {0}, dys[PARTS], vs[PARTS], sas[PARTS];
    memcpy(dys, dy, sizeof(Row)), memcpy(vs, v, sizeof(Row)), memcpy(sas, sa, sizeof(Row));
    for (int j = 0; j < N; j++) {
        Lanes sr = {0}, sw = {0}, sk = {0}, sb = {0};
        Lanes *d = (Lanes *)dS[j];
        const Lanes *was = (const Lanes *)before[j], *is = (const Lanes *)after[j];
        for (int q = 0; q < PARTS; q++) {
            Lanes x = d[q] + dys[q] * r[j];
            d[q] = x;
            sr += is[q] * dys[q], sw += was[q] * x, sk += vs[q] * x, sb += sas[q] * x;
            dvalue[q] += x * k[j], dsa[q] += x * b[j];
        }
        dr[j] = sum(sr), dw[j] = sum(sw), dk[j] = sum(sk), db[j] = sum(sb);
    }
    for (int j = 0; j < N; j++) {
        Lanes s = {0};
        Lanes *d = (Lanes *)dS[j];
        const Lanes *was = (const Lanes *)before[j];
        for (int q = 0; q < PARTS; q++) {
            s += was[q] * dsa[q];
            d[q] = d[q] * w[j] + dsa[q] * a[j];
        }
        da[j] = sum(s);
    }
    memcpy(dv, dvalue, sizeof(Row));
}

void wkv_backward(int B, int T, int H, const float *r, const float *w, const float *k, const float *v, const float *a,
                  const float *b, const float *states, const float *dy, float *dr, float *dw, float *dk, float *dv,
                  float *da, float *db) {
    const int chunks = (T + CHUNK - 1) / CHUNK;
    const long stride = (long)H * N;
#pragma omp parallel for schedule(dynamic)
    for (int bh = 0; bh < B * H; bh++) {
        const long start = ((long)(bh / H) * T * H + bh % H) * N;
        Row *S = aligned_alloc(64, (CHUNK + 1) * N * sizeof(Row)); /* S[t * N]: the state before the chunk's token t */
        Row sas[CHUNK + 1], dS[N] = {0}, unused, none = {0};
        for (int chunk = chunks - 1; chunk >= 0; chunk--) {
            const int first = chunk * CHUNK, length = T - first < CHUNK ? T - first : CHUNK;
            memcpy(S, states + ((long)bh * chunks + chunk) * N * N, N * sizeof(Row));
            memset(sas[0], 0, sizeof(Row));
            for (int j = 0; j < N; j++)
                for (int i = 0; i < N; i++) sas[0][i] += S[j][i] * a[start + first * stride + j];
            for (int t = 0; t < length; t++) {
                const long at = start + (first + t) * stride;
                memcpy(sas[t + 1], sas[t], sizeof(Row));
                step(S + t * N, S + (t + 1) * N, sas[t + 1], w + at, k + at, v + at, b + at, r + at,
                     t + 1 < length ? a + at + stride : none, unused);
            }
            for (int t = length - 1; t >= 0; t--) {
                const long at = start + (first + t) * stride;
                back(S + t * N, S + (t + 1) * N, dS, sas[t], r + at, w + at, k + at, v + at, a + at, b + at, dy + at,
                     dr + at, dw + at, dk + at, dv + at, da + at, db + at);
            }
        }
        free(S);
    }
}
