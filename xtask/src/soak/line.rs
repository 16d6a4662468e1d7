//! A straight line through points: the one with the least squares.

/// What a line says of the points that it goes through.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) mean: f64,
    /// In each unit of time.
    slope: f64,
}

impl Line {
    /// Through points of time and value; level where there are fewer than two times.
    pub(super) fn through(points: &[(f64, f64)]) -> Line {
        let count = points.len().max(1) as f64;
        let mean_of = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
        let (at, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let width: f64 = points.iter().map(|point| (point.0 - at).powi(2)).sum();
        let product: f64 = points
            .iter()
            .map(|point| (point.0 - at) * (point.1 - mean))
            .sum();
        let slope = if width > 0.0 { product / width } else { 0.0 };
        Line { mean, slope }
    }

    /// By how many percent of the mean it rises in so much time.
    pub(super) fn growth(&self, time: f64) -> f64 {
        match self.mean {
            0.0 => 0.0,
            mean => 100.0 * self.slope * time / mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_one_with_the_least_squares() {
        type Row = (&'static [(f64, f64)], f64, f64);
        let rows: [Row; 5] = [
            (&[], 0.0, 0.0),
            (&[(1.0, 5.0)], 5.0, 0.0),
            (&[(0.0, 4.0), (2.0, 4.0), (4.0, 4.0)], 4.0, 0.0),
            (&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], 3.0, 2.0),
            (&[(0.0, 1.0), (1.0, 0.0), (2.0, 2.0)], 1.0, 0.5),
        ];
        for (points, mean, slope) in rows {
            assert_eq!(Line::through(points), Line { mean, slope }, "{points:?}");
        }
        let line = Line {
            mean: 50.0,
            slope: 0.01,
        };
        assert!((line.growth(600.0) - 12.0).abs() < 1e-9);
    }
}
