"""Which of the compiled levels this machine runs. Built without -march: it must load everywhere."""

cdef extern from *:
    """
    #if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    /* x86-64-v3 and v4 of the psABI; the compiler's own test includes that the system saves the registers */
    static int nn_has_x86_64_v3(void)
    {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
               && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    }
    static int nn_has_x86_64_v4(void)
    {
        return nn_has_x86_64_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
               && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
               && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int nn_has_x86_64_v3(void) { return 0; }
    static int nn_has_x86_64_v4(void) { return 0; }
    #endif
    #if defined(__VERSION__)
    #define NN_COMPILER __VERSION__
    #else
    #define NN_COMPILER "unknown"
    #endif
    #if defined(__clang__)
    #define NN_COMPILER_NAME "clang"
    #elif defined(__GNUC__)
    #define NN_COMPILER_NAME "gcc"
    #else
    #define NN_COMPILER_NAME "C compiler"
    #endif
    """
    bint nn_has_x86_64_v3()
    bint nn_has_x86_64_v4()
    const char *NN_COMPILER
    const char *NN_COMPILER_NAME


def supported_levels():
    """The levels this machine runs, best first."""
    if nn_has_x86_64_v4():
        return ("x86_64_v4", "x86_64_v3", "baseline")
    return ("x86_64_v3", "baseline") if nn_has_x86_64_v3() else ("baseline",)


def compiler():
    """Name and version of the C compiler."""
    return f"{NN_COMPILER_NAME.decode()} {NN_COMPILER.decode()}"
