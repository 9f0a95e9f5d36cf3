//! End-to-end tests of Plimsoll with real servers, clients and processes
