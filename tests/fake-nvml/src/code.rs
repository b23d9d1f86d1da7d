//! NVML's return codes by the names that scenarios use.

use std::ffi::CStr;

/// A return code other than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

/// What a call answers inside this library.
pub type Answer<T> = Result<T, Code>;

pub const UNINITIALIZED: Code = Code(1);
pub const INVALID_ARGUMENT: Code = Code(2);
pub const NOT_SUPPORTED: Code = Code(3);
pub const NOT_FOUND: Code = Code(6);
pub const INSUFFICIENT_SIZE: Code = Code(7);
pub const TIMEOUT: Code = Code(10);
pub const ARGUMENT_VERSION_MISMATCH: Code = Code(25);
pub const UNKNOWN: Code = Code(999);

/// Number, name without `NVML_ERROR_`, and the text that `nvmlErrorString` gives.
const TABLE: &[(u32, &str, &CStr)] = &[
    (0, "SUCCESS", c"Success"),
    (1, "UNINITIALIZED", c"Uninitialized"),
    (2, "INVALID_ARGUMENT", c"Invalid Argument"),
    (3, "NOT_SUPPORTED", c"Not Supported"),
    (4, "NO_PERMISSION", c"Insufficient Permissions"),
    (5, "ALREADY_INITIALIZED", c"Already Initialized"),
    (6, "NOT_FOUND", c"Not Found"),
    (7, "INSUFFICIENT_SIZE", c"Insufficient Size"),
    (8, "INSUFFICIENT_POWER", c"Insufficient External Power"),
    (9, "DRIVER_NOT_LOADED", c"Driver Not Loaded"),
    (10, "TIMEOUT", c"Timeout"),
    (11, "IRQ_ISSUE", c"Interrupt Request Issue"),
    (12, "LIBRARY_NOT_FOUND", c"NVML Shared Library Not Found"),
    (13, "FUNCTION_NOT_FOUND", c"Function Not Found"),
    (14, "CORRUPTED_INFOROM", c"Corrupted infoROM"),
    (15, "GPU_IS_LOST", c"GPU is lost"),
    (16, "RESET_REQUIRED", c"GPU requires reset"),
    (17, "OPERATING_SYSTEM", c"GPU access blocked by the operating system"),
    (18, "LIB_RM_VERSION_MISMATCH", c"Driver/library version mismatch"),
    (19, "IN_USE", c"In use by another client"),
    (20, "MEMORY", c"Insufficient Memory"),
    (21, "NO_DATA", c"No data"),
    (
        22,
        "VGPU_ECC_NOT_SUPPORTED",
        c"The requested vgpu operation is not available on target device, because ECC is enabled",
    ),
    (23, "INSUFFICIENT_RESOURCES", c"Insufficient Resources"),
    (24, "FREQ_NOT_SUPPORTED", c"Frequency Not Supported"),
    (25, "ARGUMENT_VERSION_MISMATCH", c"Argument version mismatch"),
    (26, "DEPRECATED", c"The requested functionality has been deprecated"),
    (27, "NOT_READY", c"The system is not ready for the request"),
    (28, "GPU_NOT_FOUND", c"No GPUs were found"),
    (29, "INVALID_STATE", c"Invalid state"),
    (30, "RESET_TYPE_NOT_SUPPORTED", c"Reset type not supported"),
    (999, "UNKNOWN", c"Unknown Error"),
];

impl Code {
    /// Finds a code by its name, with or without `NVML_ERROR_`.
    pub fn by_name(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("NVML_ERROR_").unwrap_or(name);
        TABLE.iter().find(|entry| entry.1 == bare).map(|entry| Self(entry.0))
    }
}

/// The text for a return code.
pub fn text(code: u32) -> &'static CStr {
    TABLE.iter().find(|entry| entry.0 == code).map_or(c"Unknown Error", |entry| entry.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_and_without_prefix() {
        assert_eq!(Code::by_name("GPU_IS_LOST"), Some(Code(15)));
        assert_eq!(Code::by_name("NVML_ERROR_LIB_RM_VERSION_MISMATCH"), Some(Code(18)));
        assert_eq!(Code::by_name("GPU_IS_FINE"), None);
    }

    #[test]
    fn every_number_and_name_is_there_once() {
        for (i, entry) in TABLE.iter().enumerate() {
            assert!(TABLE[i + 1..].iter().all(|other| other.0 != entry.0 && other.1 != entry.1), "{entry:?}");
        }
    }
}
