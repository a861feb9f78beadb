//! Raw image files and host block devices.
