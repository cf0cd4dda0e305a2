use super::*;
use crate::Stream;
use crate::simd::testing::with_all_vectors;

fn random(stream: Stream, n: usize) -> Vec<f32> {
    let mut rng = stream.rng();
    (0..n).map(|_| rng.uniform_in(-1.0, 1.0)).collect()
}

fn naive(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut c = vec![0.0; a.n_rows * b.n_cols];
    for i in 0..a.n_rows {
        for j in 0..b.n_cols {
            let mut sum = 0.0f32;
            for p in 0..a.n_cols {
                sum = a.at(i, p).mul_add(b.at(p, j), sum);
            }
            c[i * b.n_cols + j] = sum;
        }
    }
    c
}

#[test]
fn every_shape_and_transposition_equals_the_plain_sum_bit_for_bit() {
    let shapes = [
        (1, 1, 1),
        (1, 10, 3),
        (7, 33, 5),
        (12, 32, 16),
        (13, 31, 17),
        (25, 70, 128),
        (128, 30, 784),
        (30, 784, 128),
        (130, 129, 131),
        (3, 5, 0),
    ];
    for (m, n, k) in shapes {
        let (x, y) = (random(Stream::new(1), m * k), random(Stream::new(2), k * n));
        let lefts = [Matrix::new(&x, m, k), Matrix::new(&x, k, m).t()];
        let rights = [Matrix::new(&y, k, n), Matrix::new(&y, n, k).t()];
        for a in lefts {
            for b in rights {
                let want = naive(a, b);
                let mut c = vec![f32::NAN; m * n];
                gemm(&mut c, a, b, Write::Set);
                assert_eq!(c, want, "{m} x {n} x {k}");
                gemm(&mut c, a, b, Write::Add);
                let twice: Vec<f32> = want.iter().map(|v| v + v).collect();
                assert_eq!(c, twice, "{m} x {n} x {k}, added");
            }
        }
    }
}

/// `n` values of which a share `used` is not zero; some of the zeros are -0.
fn partly(stream: Stream, n: usize, used: f32) -> Vec<f32> {
    let mut rng = stream.rng();
    let mut value = || match (rng.uniform() < used, rng.uniform_in(-1.0, 1.0)) {
        (true, value) => value,
        (false, value) => 0.0 * value,
    };
    (0..n).map(|_| value()).collect()
}

/// The bits of the product with each element of C `before`, all zeros of A left out.
fn listed(a: Matrix<'_>, b: Matrix<'_>, (before, write): (f32, Write)) -> Vec<u32> {
    let mut c = vec![before; a.n_rows * b.n_cols];
    let (data, len) = (c.as_mut_ptr(), c.len());
    sparse::run(a, b, Out { data, len, row_stride: b.n_cols, col_stride: 1, write });
    bits(&c)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn leaving_out_what_is_zero_changes_no_bit() {
    let shapes = [(128, 64, 70), (70, 130, 128), (1, 300, 1200), (30, 784, 128), (200, 97, 33)];
    let uses = [
        (0.0, 0.0, Write::Set),
        (0.1, 2.0, Write::Add),
        (0.3, 0.0, Write::Set),
        (1.0, 2.0, Write::Add),
    ];
    for ((m, n, k), (used, before, write)) in shapes.into_iter().flat_map(|s| uses.map(|u| (s, u)))
    {
        let (x, y) = (partly(Stream::new(5), m * k, used), random(Stream::new(6), k * n));
        for a in [Matrix::new(&x, m, k), Matrix::new(&x, k, m).t()] {
            for b in [Matrix::new(&y, k, n), Matrix::new(&y, n, k).t()] {
                let want = bits(&naive(a, b).iter().map(|v| v + before).collect::<Vec<_>>());
                for listed in with_all_vectors(|| listed(a, b, (before, write))) {
                    assert_eq!(listed, want, "{m} x {n} x {k}, {used}");
                }
                let mut c = vec![before; m * n];
                gemm(&mut c, a, b, write);
                assert_eq!(bits(&c), want, "{m} x {n} x {k}, {used}, A first");
                gemm(&mut c, b.t(), a.t(), Write::Set);
                assert_eq!(
                    bits(&c),
                    bits(&naive(b.t(), a.t())),
                    "{m} x {n} x {k}, {used}, B first"
                );
            }
        }
    }
}

#[test]
fn the_operand_with_more_zeros_is_listed_where_that_pays() {
    let of = |used| partly(Stream::new(7), 128 * 128, used);
    let (few, some, most) = (of(0.1), of(0.3), of(0.8));
    let first =
        |x: &[f32], y: &[f32]| sparse::first(Matrix::new(x, 128, 128), Matrix::new(y, 128, 128));
    assert_eq!(first(&some, &most), Some(First::A));
    assert_eq!(first(&some, &few), Some(First::B));
    assert_eq!(first(&few, &few), Some(First::A));
    assert_eq!(first(&most, &most), None);
    let few = Matrix::new(&few[..64 * 64], 64, 64);
    let narrow = Matrix::new(&most[..64 * 10], 64, 10);
    assert_eq!(sparse::first(few, narrow), None);
}

#[test]
fn a_sum_too_small_for_f32_has_one_sign() {
    let (tiny, y) = (1e-30f32, vec![-1e-30f32; 64 * 64]);
    let mut x = vec![0.0; 64 * 64];
    x.iter_mut().step_by(64).for_each(|first| *first = tiny);
    let mut c = vec![f32::NAN; 64 * 64];
    for used in [0.0, 1.0] {
        // First all but one value of a row are zero, then none, and their products are too small as well.
        x.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = used * 1e-40);
        gemm(&mut c, Matrix::new(&x, 64, 64), Matrix::new(&y, 64, 64), Write::Set);
        assert!(c.iter().all(|v| v.to_bits() == 0), "{used}");
    }
}

#[test]
fn the_thread_count_changes_nothing() {
    let (x, y) = (random(Stream::new(3), 200 * 300), random(Stream::new(4), 300 * 250));
    let product = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let mut c = vec![0.0; 200 * 250];
        let (a, b) = (Matrix::new(&x, 200, 300), Matrix::new(&y, 300, 250));
        pool.install(|| gemm(&mut c, a, b, Write::Set));
        c
    };
    assert_eq!(product(1), product(3));
}

#[test]
fn a_matrix_that_several_products_read_is_listed_once_for_each_side() {
    let (m, n, k) = (96, 64, 128);
    let x = partly(Stream::new(5), m * k, 0.1);
    let y = random(Stream::new(6), m * n);
    let listed = Listed::default();
    let plain = Matrix::new(&x, m, k);
    let a = plain.listed(Some(&listed));
    let product = |a: Matrix<'_>, b: Matrix<'_>| {
        let mut c = vec![f32::NAN; a.n_rows * b.n_cols];
        gemm(&mut c, a, b, Write::Set);
        c
    };
    let known = || listed.of_rows_and_columns().map(|kept| kept.get().map(|lists| lists.n_rows));
    let b = Matrix::new(&y, m, n);
    assert_eq!(product(a.t(), b), naive(plain.t(), b));
    assert_eq!(known(), [None, Some(k)]);
    let z = random(Stream::new(7), k * n);
    for b in [Matrix::new(&z, k, n), Matrix::new(&z, n, k).t()] {
        assert_eq!(product(a, b), naive(plain, b));
        assert_eq!(known(), [Some(m), Some(k)]);
    }
    assert_eq!(product(b.t(), a), naive(b.t(), plain), "the second operand");
}
