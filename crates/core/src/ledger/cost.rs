//! What a request is charged.

/// A single request is never charged more than this, 1 TiB, so that a made-up length cannot
/// wrap the sum.
pub(super) const LARGEST_COST_BYTES: u64 = 1 << 40;

/// Bytes to charge for a request: so few that no sum with them wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost(u64);

impl Cost {
    /// More than any request is charged; what costs this is never admitted without a question.
    pub const TOO_MUCH: Self = Self(1 << 62);

    /// Costs `bytes`, or [`Cost::TOO_MUCH`] if that is less.
    pub fn new(bytes: u64) -> Self {
        Self(bytes.min(Self::TOO_MUCH.0))
    }

    /// Costs so many bytes more.
    #[inline]
    #[must_use]
    pub fn plus(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(u64::from(bytes)))
    }

    #[inline]
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}
