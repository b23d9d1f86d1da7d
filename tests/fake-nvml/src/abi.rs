//! The only place that touches the caller's memory.
//!
//! Exported functions are written with the `export!` macro. It enters the call (counting users,
//! finding the GPU, meeting faults), wraps each pointer that C passed in `Out` or `Text`, turns the
//! answer into NVML's return code, and has the compiler compare the signature with the one in
//! `nvml-wrapper-sys`, so that a slip in a type does not compile.

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use crate::code::{Answer, INSUFFICIENT_SIZE, INVALID_ARGUMENT};

/// Memory of the caller that holds one or more `T`, or null.
///
/// Invariant: not null means valid for reads and writes while the call lasts, and not touched by
/// another thread meanwhile. NVML demands this of its callers. Handles, which C sees as pointers
/// too, are never followed: only their number is used.
pub struct Out<T>(Option<NonNull<T>>);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> Out<T> {
    pub fn is_null(self) -> bool {
        self.0.is_none()
    }

    /// The handle that C passed, as the number it is; null is zero.
    pub fn number(self) -> usize {
        self.0.map_or(0, |pointer| pointer.addr().get())
    }

    pub fn put(self, value: T) -> Answer<()> {
        let pointer = self.0.ok_or(INVALID_ARGUMENT)?;
        // SAFETY: the type's invariant; writing does not read what was there.
        unsafe { pointer.as_ptr().write(value) };
        Ok(())
    }

    /// What the caller put there, for arguments that go both ways.
    pub fn get(self) -> Answer<T>
    where
        T: Copy,
    {
        let pointer = self.0.ok_or(INVALID_ARGUMENT)?;
        // SAFETY: the type's invariant; callers of this method expect C to have filled the value.
        Ok(unsafe { pointer.as_ptr().read() })
    }

    /// The entry `index` of an array whose length the caller stated.
    #[must_use]
    pub fn at(self, index: usize) -> Self {
        // SAFETY: callers stay below the length that came with the array.
        Self(self.0.map(|pointer| unsafe { pointer.add(index) }))
    }

    /// A field of a structure, by its address, without touching the rest of the structure.
    pub fn field<F>(self, address: impl FnOnce(*mut T) -> *mut F) -> Out<F> {
        Out(self.0.and_then(|pointer| NonNull::new(address(pointer.as_ptr()))))
    }

    /// Fills a caller's array by NVML's rule: the count is checked and always set to what is there.
    pub fn put_all(self, count: Out<u32>, values: &[T]) -> Answer<()>
    where
        T: Copy,
    {
        let room = usize::try_from(count.get()?).map_err(|_| INVALID_ARGUMENT)?;
        count.put(u32::try_from(values.len()).map_err(|_| INVALID_ARGUMENT)?)?;
        if values.is_empty() {
            return Ok(());
        }
        if room < values.len() || self.is_null() {
            return Err(INSUFFICIENT_SIZE);
        }
        values.iter().enumerate().try_for_each(|(index, value)| self.at(index).put(*value))
    }
}

impl Out<c_char> {
    /// Writes a text with its final zero into a buffer of `length` bytes.
    pub fn put_text(self, length: u32, text: &str) -> Answer<()> {
        let room = usize::try_from(length).map_err(|_| INVALID_ARGUMENT)?;
        if self.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        if room <= text.len() {
            return Err(INSUFFICIENT_SIZE);
        }
        let bytes = text.bytes().chain([0]);
        bytes.enumerate().try_for_each(|(index, byte)| self.at(index).put(byte.cast_signed()))
    }
}

/// A text of the caller, or null.
#[derive(Clone, Copy)]
pub struct Text(*const c_char);

impl Text {
    pub fn read(self) -> Answer<String> {
        if self.0.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not null, and NVML demands a text that ends with zero.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(str::to_owned).map_err(|_| INVALID_ARGUMENT)
    }
}

/// How an argument from C is seen inside.
pub trait Argument {
    type Inside;

    /// # Safety
    ///
    /// A pointer is null or valid as `Out` and `Text` demand, until the exported call returns.
    unsafe fn into_inside(self) -> Self::Inside;
}

impl<T> Argument for *mut T {
    type Inside = Out<T>;

    unsafe fn into_inside(self) -> Out<T> {
        Out(NonNull::new(self))
    }
}

impl Argument for *const c_char {
    type Inside = Text;

    unsafe fn into_inside(self) -> Text {
        Text(self)
    }
}

macro_rules! as_it_is {
    ($($number:ty),*) => {$(
        impl Argument for $number {
            type Inside = Self;

            unsafe fn into_inside(self) -> Self {
                self
            }
        }
    )*};
}
as_it_is!(u32, i32, u64);

/// A fixed text field of a structure.
pub fn fixed<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    for (place, byte) in field.iter_mut().zip(text.bytes().take(N - 1)) {
        *place = byte.cast_signed();
    }
    field
}

/// NVML's version number of a structure: its size, and the version in the top byte.
pub const fn version<T>(number: u32) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "structures are far smaller than 2^24 bytes")]
    let size = size_of::<T>() as u32;
    size | (number << 24)
}

/// Exports functions with NVML's C interface. `device` functions get their GPU, `library` functions the
/// library; `… unchecked` ones are missing in `nvml-wrapper-sys` without its legacy feature.
macro_rules! export {
    () => {};
    (device fn $name:ident($call:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block $($rest:tt)*) => {
        const _: unsafe fn(
            &nvml_wrapper_sys::bindings::NvmlLib, nvml_wrapper_sys::bindings::nvmlDevice_t $(, $ty)*
        ) -> nvml_wrapper_sys::bindings::nvmlReturn_t = nvml_wrapper_sys::bindings::NvmlLib::$name;
        $crate::abi::export! { device unchecked fn $name($call $(, $arg: $ty)*) $body $($rest)* }
    };
    (device unchecked fn $name:ident($call:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block $($rest:tt)*) => {
        #[doc = concat!("NVML's `", stringify!($name), "`.\n\n# Safety\n\nPointers are null or valid, as NVML's interface says.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(gpu: nvml_wrapper_sys::bindings::nvmlDevice_t $(, $arg: $ty)*) -> u32 {
            // SAFETY: what this function demands of its caller.
            $(let $arg = unsafe { $crate::abi::Argument::into_inside($arg) };)*
            $crate::library::code($crate::library::Call::enter(gpu, stringify!($name)).and_then(|$call| $body))
        }
        $crate::abi::export! { $($rest)* }
    };
    (library fn $name:ident($library:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block $($rest:tt)*) => {
        const _: unsafe fn(
            &nvml_wrapper_sys::bindings::NvmlLib $(, $ty)*
        ) -> nvml_wrapper_sys::bindings::nvmlReturn_t = nvml_wrapper_sys::bindings::NvmlLib::$name;
        $crate::abi::export! { library unchecked fn $name($library $(, $arg: $ty)*) $body $($rest)* }
    };
    (library unchecked fn $name:ident($library:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block $($rest:tt)*) => {
        #[doc = concat!("NVML's `", stringify!($name), "`.\n\n# Safety\n\nPointers are null or valid, as NVML's interface says.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> u32 {
            // SAFETY: what this function demands of its caller.
            $(let $arg = unsafe { $crate::abi::Argument::into_inside($arg) };)*
            $crate::library::code($crate::library::enter(stringify!($name)).and_then(|$library| $body))
        }
        $crate::abi::export! { $($rest)* }
    };
}
pub(crate) use export;

#[cfg(test)]
mod tests {
    use super::*;

    fn out<T>(place: &mut T) -> Out<T> {
        // SAFETY: a reference is valid, and each test uses the result only while it lives.
        unsafe { std::ptr::from_mut(place).into_inside() }
    }

    #[test]
    fn null_is_refused_everywhere() {
        // SAFETY: null is allowed.
        let null: Out<u32> = unsafe { std::ptr::null_mut::<u32>().into_inside() };
        assert_eq!(null.put(1), Err(INVALID_ARGUMENT));
        assert_eq!(null.get(), Err(INVALID_ARGUMENT));
        let text = text_of(std::ptr::null());
        assert_eq!(text.read(), Err(INVALID_ARGUMENT));
    }

    fn text_of(pointer: *const c_char) -> Text {
        // SAFETY: tests pass null or a literal.
        unsafe { pointer.into_inside() }
    }

    #[test]
    fn a_list_that_does_not_fit_tells_its_length_and_writes_nothing() {
        let mut room = [7_u32; 2];
        let mut count = 2;
        assert_eq!(out(&mut room[0]).put_all(out(&mut count), &[1, 2, 3]), Err(INSUFFICIENT_SIZE));
        assert_eq!((count, room), (3, [7, 7]));
        let mut space = [0_u32; 3];
        let first: Out<u32> = Out(NonNull::new(space.as_mut_ptr()));
        assert_eq!(first.put_all(out(&mut count), &[4, 5]), Ok(()));
        assert_eq!((count, space), (2, [4, 5, 0]));
    }

    #[test]
    fn a_text_needs_room_for_its_end() {
        let mut buffer = [1; 4];
        let first: Out<c_char> = Out(NonNull::new(buffer.as_mut_ptr()));
        assert_eq!(first.put_text(3, "abc"), Err(INSUFFICIENT_SIZE));
        assert_eq!(buffer, [1; 4]);
        assert_eq!(first.put_text(4, "abc"), Ok(()));
        assert_eq!(text_of(buffer.as_ptr()).read(), Ok("abc".into()));
    }

    #[test]
    fn a_fixed_text_always_ends() {
        assert_eq!(fixed::<4>("ab"), [97, 98, 0, 0]);
        assert_eq!(fixed::<3>("abcdef"), [97, 98, 0]);
    }
}
