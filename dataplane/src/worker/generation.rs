//! What control publishes and workers read: the generation and the table of ports.
