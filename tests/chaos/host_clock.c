/* The host's clock, set by a file: seconds are added to what processes read as the time of day, and to nothing else.

   Loaded by LD_PRELOAD (ld.so(8)). The monotonic clock, waits and timeouts are the kernel's own: they pass through untouched.
   Without headers, so that a compiler is enough. libfaketime 0.9.10 cannot stand in: with its monotonic clock left alone, every
   clock_nanosleep(2) to an absolute time answers EINVAL, and so does time.sleep of Python 3.11. */

struct timespec { long seconds, nanoseconds; };
struct timeval { long seconds, microseconds; };

extern long syscall(long number, ...);
extern char *getenv(const char *name);
extern int open(const char *path, int flags, ...);
extern void *mmap(void *at, unsigned long length, int protection, int flags, int file, long offset);
extern int close(int file);

#ifdef __aarch64__
#define CLOCK_GETTIME 113
#else
#define CLOCK_GETTIME 228 /* x86_64 */
#endif

static const volatile long *given = 0;

static long moved(void) {
    static const long none = 0;
    if (!given) {
        const char *path = getenv("HOST_CLOCK");
        int file = path ? open(path, 02000000) : -1; /* O_RDONLY | O_CLOEXEC */
        void *there = file < 0 ? (void *)-1 : mmap(0, sizeof(long), 1, 1, file, 0); /* PROT_READ, MAP_SHARED */
        if (file >= 0) close(file);
        given = there == (void *)-1 ? &none : there;
    }
    return *given;
}

int clock_gettime(int clock, struct timespec *now) {
    int failed = (int)syscall(CLOCK_GETTIME, (long)clock, now);
    if (!failed && (clock == 0 || clock == 5)) now->seconds += moved(); /* CLOCK_REALTIME, and the coarse one */
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    if (clock_gettime(0, &exact)) return -1;
    now->seconds = exact.seconds;
    now->microseconds = exact.nanoseconds / 1000;
    return 0;
}

long time(long *result) {
    struct timespec exact;
    clock_gettime(0, &exact);
    if (result) *result = exact.seconds;
    return exact.seconds;
}
