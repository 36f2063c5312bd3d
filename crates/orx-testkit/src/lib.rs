//! Contract suites that every store and transport must pass.
