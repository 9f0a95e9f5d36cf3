//! Both databases under the same tests; what only one of them has stands in a file of its own.

mod brakes;
mod failures;
mod fixture;
mod matching;
mod pools;
mod race;
mod refusals;
mod support;
mod tidy;
