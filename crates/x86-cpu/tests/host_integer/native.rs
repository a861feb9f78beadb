//! The host's processor as a 32-bit and 16-bit machine at CPL 3.
//!
//! From 64-bit code a far jump leads into Linux' 32-bit code segment or a 16-bit one of our LDT; another leads back. An
//! exception comes as a signal, whose handler notes what the kernel tells of it and returns to the way out.
#![allow(dead_code, reason = "every test file uses its part")]

use super::layout::*;
use core::arch::{asm, global_asm};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

// What lies at STATE. The stubs know the offsets.
#[repr(C)]
struct State {
    // 00h: in
    gpr: [u32; 8],
    eflags: u64,
    eip: u32,
    cs: u16,
    ds: u16,
    es: u16,
    ss: u16,
    _pad: u32,
    // 38h: out
    out_gpr: [u32; 8],
    out_eflags: u64,
    exit: u32,
    out_ds: u32,
    out_es: u32,
    out_ss: u32,
    rsp: u64,
    // Filled by the signal handler.
    vector: u32,
    error: u32,
    cs_at: u32,
    eip_at: u32,
    cr2: u64,
}

global_asm!(
    ".globl slotone_host_stubs, slotone_host_stubs_end",
    ".pushsection .rodata",
    "slotone_host_stubs:",
    // 0: in, a function without arguments.
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "mov [{s} + 0x70], rsp",
    "mov ds, word ptr [{s} + 0x2E]",
    "mov es, word ptr [{s} + 0x30]",
    "push qword ptr [{s} + 0x20]",
    "popfq",
    "mov ss, word ptr [{s} + 0x32]",
    "mov eax, [{s} + 0x00]; mov ecx, [{s} + 0x04]; mov edx, [{s} + 0x08]; mov ebx, [{s} + 0x0C]",
    "mov esp, [{s} + 0x10]; mov ebp, [{s} + 0x14]; mov esi, [{s} + 0x18]; mov edi, [{s} + 0x1C]",
    "jmp fword ptr [{s} + 0x28]",
    // 7C0h: where the signal handler returns to.
    ".org slotone_host_stubs + 0x7C0",
    "jmp 3f",
    // 7E0h: the signal handler: no alignment checks from here on.
    ".org slotone_host_stubs + 0x7E0",
    "pushfq; and dword ptr [rsp], ~0x40000; popfq",
    "jmp [{s} + 0xF00]",
    ".org slotone_host_stubs + 0x800",
    "mov dword ptr [{s} + 0x60], 0; jmp 2f",
    ".org slotone_host_stubs + 0x810",
    "mov dword ptr [{s} + 0x60], 1; jmp 2f",
    ".org slotone_host_stubs + 0x820",
    "mov dword ptr [{s} + 0x60], 2",
    "2:",
    "mov [{s} + 0x38], eax; mov [{s} + 0x3C], ecx; mov [{s} + 0x40], edx; mov [{s} + 0x44], ebx",
    "mov [{s} + 0x48], esp; mov [{s} + 0x4C], ebp; mov [{s} + 0x50], esi; mov [{s} + 0x54], edi",
    "mov eax, ds; mov [{s} + 0x64], eax",
    "mov eax, es; mov [{s} + 0x68], eax",
    "mov eax, ss; mov [{s} + 0x6C], eax",
    "mov eax, 0x2B; mov ss, eax",
    "mov rsp, [{s} + 0x70]",
    "pushfq; pop qword ptr [{s} + 0x58]",
    "3:",
    "mov rsp, [{s} + 0x70]",
    "push 2; popfq",
    "xor eax, eax; mov ds, eax; mov es, eax",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "ret",
    "slotone_host_stubs_end:",
    ".popsection",
    s = const STATE,
);

unsafe extern "C" {
    static slotone_host_stubs: u8;
    static slotone_host_stubs_end: u8;
}

/// The code under test runs: what signals come are its exceptions.
static RUNNING: AtomicBool = AtomicBool::new(false);
/// One at a time: the addresses are fixed and signal handlers are the process's.
static LOCK: Mutex<()> = Mutex::new(());

const SIGNALS: [i32; 5] = [libc::SIGFPE, libc::SIGSEGV, libc::SIGILL, libc::SIGTRAP, libc::SIGBUS];
const SIGNAL_STACK: usize = 64 << 10;

/// Registers of the interrupted code, as Linux puts them onto the signal stack.
const FROM_CONTEXT: [i32; 8] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
];

extern "C" fn on_signal(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: Linux passes a ucontext_t; STATE is mapped while handlers are installed.
    let (regs, state) = unsafe {
        (&mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs, &mut *(STATE as *mut State))
    };
    if !RUNNING.load(Ordering::Relaxed) {
        // Not ours: as if we had never been here.
        // SAFETY: puts the default action back; the instruction is tried again.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    let get = |r: i32| regs[r as usize] as u64;
    for (to, from) in state.out_gpr.iter_mut().zip(FROM_CONTEXT) {
        *to = get(from) as u32;
    }
    state.out_eflags = get(libc::REG_EFL);
    state.vector = get(libc::REG_TRAPNO) as u32;
    state.error = get(libc::REG_ERR) as u32;
    state.cs_at = get(libc::REG_CSGSFS) as u32 & 0xFFFF;
    state.out_ss = (get(libc::REG_CSGSFS) >> 48) as u32;
    state.eip_at = get(libc::REG_RIP) as u32;
    state.cr2 = get(libc::REG_CR2);
    state.exit = u32::MAX;
    // SAFETY: reads of segment registers, which the kernel leaves alone.
    unsafe {
        asm!("mov {0:e}, ds", out(reg) state.out_ds, options(nomem, nostack));
        asm!("mov {0:e}, es", out(reg) state.out_es, options(nomem, nostack));
    }
    regs[libc::REG_RIP as usize] = i64::from(STUBS + 0x7C0);
    regs[libc::REG_RSP as usize] = state.rsp as i64;
    regs[libc::REG_EFL as usize] = 0x202;
    let kept = regs[libc::REG_CSGSFS as usize] & 0x0000_FFFF_FFFF_0000;
    regs[libc::REG_CSGSFS as usize] = kept | i64::from(CS_EXIT) | i64::from(FLAT) << 48;
}

/// Linux' `struct user_desc`.
#[repr(C)]
struct UserDesc {
    entry: u32,
    base: u32,
    limit: u32,
    flags: u32,
}

/// The host, while the test has it to itself.
pub(crate) struct Host {
    _one: MutexGuard<'static, ()>,
    old: Vec<libc::sigaction>,
    old_stack: libc::stack_t,
    maps: Vec<(u32, u32)>,
    _signal_stack: Vec<u8>,
    /// Whether 16-bit segments are to be had.
    pub(crate) ldt: bool,
}

fn map(at: u32, len: u32, protection: i32) -> Result<(), String> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: a new mapping that replaces none.
    let got = unsafe { libc::mmap(at as *mut _, len as usize, protection, flags, -1, 0) };
    if got as usize == at as usize {
        return Ok(());
    }
    Err(format!("no memory at {at:#x}: {}", std::io::Error::last_os_error()))
}

/// The bytes at an address of ours.
fn bytes(at: u32, len: usize) -> &'static mut [u8] {
    // SAFETY: called for mapped memory only, by the one holder of the lock, and never kept.
    unsafe { std::slice::from_raw_parts_mut(at as *mut u8, len) }
}

impl Host {
    /// Sets everything up.
    ///
    /// # Errors
    /// Why this host cannot judge.
    pub(crate) fn new() -> Result<Self, String> {
        let one = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut host = Self {
            _one: one,
            old: Vec::new(),
            // SAFETY: plain data.
            old_stack: unsafe { std::mem::zeroed() },
            maps: Vec::new(),
            _signal_stack: vec![0; SIGNAL_STACK],
            ldt: false,
        };
        let (r, w, x) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
        let mut wanted = vec![
            (REGION, HOLE, r | w),
            (REGION + READ_ONLY, 0x1000, r),
            (REGION + READ_ONLY + 0x1000, 0x1_0000 - READ_ONLY - 0x1000, r | w),
            (STUBS, 0x1000, r | w | x),
            (STATE, 0x1000, r | w),
            (BUFFER, BUFFER_LEN, r | w),
        ];
        wanted.extend(CODE_PAGES.map(|at| (CODE + at, 0x1000, r | w | x)));
        for (at, len, protection) in wanted {
            map(at, len, protection)?;
            host.maps.push((at, len));
        }
        // SAFETY: the two symbols bound the stubs.
        let stubs = unsafe {
            let from = &raw const slotone_host_stubs;
            let len = (&raw const slotone_host_stubs_end).offset_from(from);
            std::slice::from_raw_parts(from, usize::try_from(len).expect("they are in order"))
        };
        bytes(STUBS, stubs.len()).copy_from_slice(stubs);
        bytes(STATE + 0xF00, 8).copy_from_slice(&(on_signal as *const () as u64).to_le_bytes());
        host.install();
        host.ldt = LDT.iter().all(|e| {
            let flags = u32::from(e.big)
                | e.contents << 1
                | u32::from(e.restricted) << 3
                | u32::from(!e.present) << 5
                | 1 << 6;
            let desc = UserDesc { entry: u32::from(e.selector >> 3), base: e.base, limit: e.limit, flags };
            // SAFETY: the structure is what the call wants; nobody else uses the LDT.
            unsafe { libc::syscall(libc::SYS_modify_ldt, 0x11, &raw const desc, size_of::<UserDesc>()) == 0 }
        });
        // A NOP, and out.
        let start =
            Start { gpr: [0; 8], eflags: 2, cs: CS32, eip: CODE + 0x1000, ds: FLAT, es: FLAT, ss: FLAT };
        let mut code = vec![0x90];
        code.extend(far_exit(true, 1));
        host.put(CODE + 0x1000, &code);
        match host.run(&start) {
            Outcome { end: End::Exit(1), .. } => Ok(host),
            other => Err(format!("32-bit code does not run: {:?}", other.end)),
        }
    }

    fn install(&mut self) {
        // SAFETY: plain data, filled before use; the stack lives as long as the handlers.
        unsafe {
            let stack = libc::stack_t {
                ss_sp: self._signal_stack.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: SIGNAL_STACK,
            };
            libc::sigaltstack(&raw const stack, &raw mut self.old_stack);
            for signal in SIGNALS {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut old = std::mem::zeroed();
                action.sa_sigaction = STUBS as usize + 0x7E0;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                libc::sigaction(signal, &raw const action, &raw mut old);
                self.old.push(old);
            }
        }
    }

    /// Puts code or data into memory that is ours.
    pub(crate) fn put(&mut self, at: u32, data: &[u8]) {
        let end = at + data.len() as u32;
        assert!(self.maps.iter().any(|&(from, len)| from <= at && end <= from + len) || at == CODE + 0x1000);
        bytes(at, data.len()).copy_from_slice(data);
    }

    /// What is in memory that is ours.
    pub(crate) fn get(&self, at: u32, len: usize) -> &[u8] {
        let end = at + len as u32;
        assert!(self.maps.iter().any(|&(from, len)| from <= at && end <= from + len));
        bytes(at, len)
    }

    pub(crate) fn put_windows(&mut self, windows: &Windows) {
        for (at, w) in WINDOWS.iter().zip(windows) {
            bytes(REGION + at, WINDOW_LEN).copy_from_slice(w);
        }
    }

    pub(crate) fn windows(&self, to: &mut Windows) {
        for (at, w) in WINDOWS.iter().zip(to) {
            w.copy_from_slice(bytes(REGION + at, WINDOW_LEN));
        }
    }

    /// Runs from `start` to an exit or an exception.
    pub(crate) fn run(&mut self, start: &Start) -> Outcome {
        // SAFETY: mapped, and only we and the signal handler use it.
        let state = unsafe { &mut *(STATE as *mut State) };
        state.gpr = start.gpr;
        state.eflags = u64::from(start.eflags);
        (state.eip, state.cs) = (start.eip, start.cs);
        (state.ds, state.es, state.ss) = (start.ds, start.es, start.ss);
        RUNNING.store(true, Ordering::SeqCst);
        // SAFETY: the stub keeps what the ABI wants kept, x87 and SSE state are not touched, and the code under test
        // writes to our mappings only: that is what the test makes its cases for.
        unsafe {
            let enter: extern "C" fn() = std::mem::transmute(STUBS as usize);
            enter();
        }
        RUNNING.store(false, Ordering::SeqCst);
        // SAFETY: as above; read anew because the stub has written it.
        let state = unsafe { &*std::hint::black_box(STATE as *const State) };
        let end = if state.exit == u32::MAX {
            End::Fault {
                vector: state.vector as u8,
                error: state.error,
                cs: state.cs_at as u16,
                eip: state.eip_at,
                cr2: if state.vector == 14 { state.cr2 as u32 } else { 0 },
            }
        } else {
            End::Exit(state.exit)
        };
        Outcome {
            end,
            gpr: state.out_gpr,
            eflags: state.out_eflags as u32,
            ds: state.out_ds as u16,
            es: state.out_es as u16,
            ss: state.out_ss as u16,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: undoes what `new` did; nothing of it is in use.
        unsafe {
            for (signal, old) in SIGNALS.into_iter().zip(&self.old) {
                libc::sigaction(signal, old, std::ptr::null_mut());
            }
            if !self.old.is_empty() {
                libc::sigaltstack(&raw const self.old_stack, std::ptr::null_mut());
            }
            for &(at, len) in &self.maps {
                libc::munmap(at as *mut _, len as usize);
            }
        }
    }
}
