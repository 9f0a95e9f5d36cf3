//! Both databases under the same tests; what only one of them has stands in a file of its own.

mod brakes;
mod fixture;
mod matching;
mod refusals;
mod support;
