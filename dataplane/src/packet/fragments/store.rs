//! Memory of parked fragments: buffers of a few sizes that go round, within a budget.

/// Sizes of buffers: an ordinary MTU, a jumbo frame, anything.
const SIZES: [usize; 3] = [2048, 10_240, 66_048];

#[derive(Debug)]
pub(super) struct Store {
    free: [Vec<Box<[u8]>>; SIZES.len()],
    budget: usize,
    /// Bytes of buffers that hold fragments.
    used: usize,
    /// Bytes of all buffers.
    owned: usize,
}

impl Store {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            free: Default::default(),
            budget,
            used: 0,
            owned: 0,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// A copy; `None` when the budget is used up.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Option<Box<[u8]>> {
        let class = SIZES.iter().position(|size| bytes.len() <= *size)?;
        let size = SIZES[class];
        if self.used + size > self.budget {
            return None;
        }
        let mut memory = match self.free[class].pop() {
            Some(memory) => memory,
            None => {
                self.make_room(size);
                self.owned += size;
                vec![0; size].into()
            }
        };
        memory[..bytes.len()].copy_from_slice(bytes);
        self.used += size;
        Some(memory)
    }

    /// Frees idle buffers of other sizes, so that all of them stay within the budget.
    fn make_room(&mut self, size: usize) {
        for free in &mut self.free {
            while self.owned + size > self.budget {
                match free.pop() {
                    Some(memory) => self.owned -= memory.len(),
                    None => break,
                }
            }
        }
    }

    pub(super) fn give(&mut self, memory: Box<[u8]>) {
        self.used -= memory.len();
        match SIZES.iter().position(|size| *size == memory.len()) {
            Some(class) => self.free[class].push(memory),
            // Not from here: it was never counted.
            None => self.used += memory.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_whatever_sizes_come() {
        let mut store = Store::new(70_000);
        let large = store.copy(&[1; 60_000]).unwrap();
        assert!(store.copy(&[2; 3000]).is_none());
        let small = store.copy(&[3; 100]).unwrap();
        assert_eq!((store.used(), small[99], large[59_999]), (68_096, 3, 1));
        store.give(large);
        store.give(small);
        let jumbos: Vec<_> = std::iter::from_fn(|| store.copy(&[4; 9000])).collect();
        assert_eq!((jumbos.len(), store.used()), (6, 61_440));
        assert!(store.owned <= 70_000);
        jumbos.into_iter().for_each(|memory| store.give(memory));
        assert_eq!(store.used(), 0);
        assert!(store.copy(&[0; 70_000]).is_none());
    }
}
