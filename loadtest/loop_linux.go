package loadtest

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// loop begins arrivals when they are due and serves them, each in a fiber, by
// one thread that waits for all connections at once. What a goroutine for each
// would cost beside the system calls, it does not: parking, waking and moving
// between threads.
type loop struct {
	*stage
	w     *fastWire
	epoll int
	alone bool // there is one processor
	// A byte from waker to wake says that a connection has been made.
	wake, waker int

	idle    shelf[*fastLine]
	lines   []*fastLine // by descriptor; nil where there is none
	now     time.Time   // when the loop last looked
	parked  []*fiber
	eager   []*fastLine    // whose fibers are parked with more to read at once
	resting []*fiber       // coroutines that serve nobody
	queue   []job          // arrivals without a browser, in order
	others  sync.WaitGroup // goroutines beside the loop

	mu   sync.Mutex
	made []dialed
}

// dialed is a connection that was made for a fiber, or why it was not.
type dialed struct {
	f    *fiber
	line *fastLine
	err  error
}

// patience is how long the loop waits at most before it looks at deadlines.
const patience = 10 * time.Millisecond

func (Fast) drive(ctx context.Context, s *schedule, st *stage) {
	l := &loop{stage: st, w: st.wire.(*fastWire), idle: shelf[*fastLine]{}}
	if err := l.open(); err != nil {
		st.note("The engine could not begin: %v.", err)
		for a, more := s.next(); more; a, more = s.next() {
			j := l.job(a)
			l.miss(&j)
		}
		return
	}
	l.drive(ctx, s)
	l.others.Wait()
	l.close()
}

func (l *loop) open() (err error) {
	l.alone = runtime.GOMAXPROCS(0) == 1
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	var pipe [2]int
	if err = syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		return errors.Join(os.NewSyscallError("pipe2", err), syscall.Close(l.epoll))
	}
	l.wake, l.waker = pipe[0], pipe[1]
	if err = l.watch(l.wake, syscall.EPOLLIN); err != nil {
		l.close()
	}
	return err
}

func (l *loop) watch(fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)}))
}

func (l *loop) close() {
	for _, f := range l.resting {
		f.stop()
	}
	l.idle.close()
	for _, fd := range []int{l.wake, l.waker, l.epoll} {
		_ = syscall.Close(fd)
	}
}

func (l *loop) drive(ctx context.Context, s *schedule) {
	var events [256]syscall.EpollEvent
	next, more := s.next()
	var looked time.Time
	for {
		since := time.Since(l.t.started)
		l.now = l.t.started.Add(since)
		for ; more && next.Due <= since; next, more = s.next() {
			if ctx.Err() != nil {
				more = false
				break
			}
			l.begin(l.job(next))
		}
		if l.now.Sub(looked) >= patience {
			looked = l.now
			more = more && ctx.Err() == nil
			l.look()
		}
		l.serveQueue()
		l.goOn()
		if !more && len(l.queue)+len(l.parked) == 0 {
			return
		}
		wait := patience
		if len(l.eager) > 0 {
			wait = 0
		} else if more {
			wait = min(wait, next.Due-time.Since(l.t.started))
		}
		if len(l.queue) > 0 {
			wait = min(wait, time.Millisecond) // browsers also come back by other ways
		}
		l.happened(l.await(events[:], wait))
	}
}

// happened goes on with whatever waited for it.
func (l *loop) happened(events []syscall.EpollEvent) {
	// First of all, for what follows may take any of them: what comes unasked,
	// or the end, makes a connection useless.
	for _, e := range events {
		if x := l.lineAt(e.Fd); x != nil && x.f == nil && e.Events != syscall.EPOLLOUT {
			x.ended = true
		}
	}
	for _, e := range events {
		if int(e.Fd) == l.wake {
			l.takeMade()
		} else if x := l.lineAt(e.Fd); x != nil {
			l.changed(x)
		}
	}
}

func (l *loop) lineAt(fd int32) *fastLine {
	if int(fd) >= len(l.lines) {
		return nil
	}
	return l.lines[fd]
}

// begin serves an arrival, or has it wait for a browser behind the others.
func (l *loop) begin(j job) {
	switch {
	case len(l.queue) == 0 && l.borrowNow(&j, false):
		l.start(j)
	case len(l.queue) >= l.MaxWaiting || l.lend.Err() != nil:
		l.miss(&j)
	default:
		l.waiting.Add(1)
		l.queue = append(l.queue, j)
	}
}

// serveQueue lends browsers that are free again to those who wait, in order.
func (l *loop) serveQueue() {
	served := 0
	for served < len(l.queue) && l.borrowNow(&l.queue[served], true) {
		l.waiting.Add(-1)
		served++
		l.start(l.queue[served-1])
	}
	l.queue = l.queue[served:] // append makes room for others when there is none left
}

// start serves an arrival that has a browser: in a fiber, or in a goroutine
// where more than exchanges may have to be waited for.
func (l *loop) start(j job) {
	if j.action == Tabs || j.b.user.Name == "" {
		l.others.Go(func() { l.carryOut(l.views, &j) })
		return
	}
	var f *fiber
	if n := len(l.resting); n > 0 {
		f = l.resting[n-1]
		l.resting = l.resting[:n-1]
	} else {
		f = newFiber(l)
	}
	f.job = j
	f.next()
}

// look ends what has taken too long or is to end.
func (l *loop) look() {
	if l.lend.Err() != nil {
		for i := range l.queue {
			l.miss(&l.queue[i])
		}
		l.waiting.Add(-int64(len(l.queue)))
		l.queue = nil
	}
	ended := l.views.Err()
	// Backwards: who goes on gives its place to the last and may park behind it.
	for i := len(l.parked) - 1; i >= 0; i-- {
		switch f := l.parked[i]; {
		case f.dials: // it is looked after
		case ended != nil:
			l.resume(f, ended)
		case l.now.After(f.deadline):
			l.resume(f, os.ErrDeadlineExceeded)
		}
	}
}

// resume lets a parked fiber go on.
func (l *loop) resume(f *fiber, err error) {
	last := len(l.parked) - 1
	l.parked[last].at = f.at
	l.parked[f.at] = l.parked[last]
	l.parked = l.parked[:last]
	f.at, f.err = -1, err
	f.next()
}

// goOn lets those read on that had to leave the others their turn.
func (l *loop) goOn() {
	eager := l.eager
	l.eager = nil
	for _, line := range eager {
		l.changed(line)
	}
}

// changed lets the fiber go on whose exchange the connection carries, if there
// is one: what it was at may have ended since, and it may be connecting anew.
func (l *loop) changed(line *fastLine) {
	if line.f != nil && line.f.at >= 0 {
		l.resume(line.f, nil)
	}
}

// takeMade hands new connections to who wanted them.
func (l *loop) takeMade() {
	var b [64]byte
	_, _ = syscall.Read(l.wake, b[:]) // it only says that there is something
	l.mu.Lock()
	made := l.made
	l.made = nil
	l.mu.Unlock()
	for _, d := range made {
		d.f.made, d.f.dials = d.line, false
		l.resume(d.f, d.err)
	}
}

// fiber is a coroutine of a loop that serves one arrival after the other. To
// what it does for the arrival it is the context.
type fiber struct {
	context.Context // of page views
	l               *loop
	job             job
	yield           func(struct{}) bool
	next            func() (struct{}, bool)
	stop            func()

	// While it is parked: where among the others (-1: it is not), until when,
	// and what it is told when it goes on.
	at       int
	deadline time.Time
	err      error
	dials    bool
	made     *fastLine
}

func newFiber(l *loop) *fiber {
	f := &fiber{Context: l.views, l: l, at: -1}
	f.next, f.stop = iter.Pull(func(yield func(struct{}) bool) {
		f.yield = yield
		for alive := true; alive; alive = yield(struct{}{}) {
			l.carryOut(f, &f.job)
			l.resting = append(l.resting, f)
		}
	})
	return f
}

// park waits until something is to be done for the fiber.
func (f *fiber) park(deadline time.Time) error {
	f.at, f.deadline = len(f.l.parked), deadline
	f.l.parked = append(f.l.parked, f)
	f.yield(struct{}{})
	return f.err
}

// get implements lines.
func (f *fiber) get(ctx context.Context, deadline time.Time, address string) (line, bool, error) {
	l := f.l
	for {
		kept, ok := l.idle.take(address, l.now)
		if !ok {
			break
		}
		if !kept.ended {
			return kept, true, nil
		}
		kept.close()
	}
	l.others.Go(func() { // looking a name up and connecting take their time
		ctx, cancel := context.WithDeadline(l.views, deadline)
		defer cancel()
		d := dialed{f: f}
		d.line, d.err = l.connect(ctx, address)
		l.mu.Lock()
		l.made = append(l.made, d)
		l.mu.Unlock()
		_, _ = syscall.Write(l.waker, []byte{0}) // full is as good as written
	})
	f.dials = true // the goroutine ends in time, and it alone wakes this fiber
	if err := f.park(deadline); err != nil {
		return nil, false, err
	}
	made := f.made
	for len(l.lines) <= made.fd {
		l.lines = append(l.lines, nil)
	}
	l.lines[made.fd] = made
	if err := l.watch(made.fd, syscall.EPOLLIN|syscall.EPOLLOUT|syscall.EPOLLRDHUP|edgeTriggered); err != nil {
		made.close()
		return nil, false, err
	}
	l.w.counts.connections.Add(1)
	return made, false, nil
}

// put implements lines.
func (f *fiber) put(address string, l line) { f.l.idle.put(address, l.(*fastLine), f.l.now) }

// connect makes a connection for the loop. It is called by other goroutines.
func (l *loop) connect(ctx context.Context, address string) (*fastLine, error) {
	conn, err := l.w.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // its copy stays
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	x := &fastLine{l: l}
	if controlled := raw.Control(func(fd uintptr) { x.fd, err = duplicate(int(fd)) }); controlled != nil {
		return nil, controlled
	}
	return x, err
}

func duplicate(fd int) (int, error) {
	copied, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int(copied), nil
}

// fastLine is a connection of a loop. Its descriptor does not block, and is
// watched for every change: whoever waits for one must have done all there was
// to do.
type fastLine struct {
	fd int
	l  *loop
	f  *fiber // whose exchange it carries, or nil
	// ended says that it is of no use for another one.
	ended bool
}

const edgeTriggered = 1 << 31

func (x *fastLine) close() {
	x.l.lines[x.fd] = nil
	_ = syscall.Close(x.fd)
}

// carry implements line, for a fiber.
func (x *fastLine) carry(ctx context.Context, deadline time.Time, w *fastWire, a *response) error {
	x.f = ctx.(*fiber)
	err := x.send(deadline, w, a.out)
	for whole := false; err == nil && !whole; {
		// No answer can be there yet, and to read in vain costs as much as to read.
		if err = x.f.park(deadline); err == nil {
			whole, err = x.receive(w, &a.in)
		}
	}
	x.f = nil
	return err
}

func (x *fastLine) send(deadline time.Time, w *fastWire, out []byte) error {
	for len(out) > 0 {
		n, err := syscall.Write(x.fd, out)
		switch err {
		case nil:
			w.counts.out.Add(uint64(n))
			out = out[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			if err := x.f.park(deadline); err != nil {
				return err
			}
		default:
			return os.NewSyscallError("write", err)
		}
	}
	return nil
}

// fairShare is how much is read for one before the others have their turn.
const fairShare = 256 << 10

// receive reads what there is, or a fair share of it.
func (x *fastLine) receive(w *fastWire, in *answer) (whole bool, err error) {
	for taken := 0; ; {
		if taken > fairShare {
			x.l.eager = append(x.l.eager, x)
			return false, nil
		}
		in.raw = slices.Grow(in.raw, 2<<10)
		n, err := syscall.Read(x.fd, in.raw[len(in.raw):cap(in.raw)])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false, nil
		case err != nil:
			return false, os.NewSyscallError("read", err)
		case n == 0:
			err = io.EOF
		}
		taken += n
		w.counts.in.Add(uint64(n))
		in.raw = in.raw[:len(in.raw)+n]
		if whole, err = in.read(n, err); whole || err != nil {
			return whole, err
		}
	}
}

// await waits for events, for whole milliseconds: what is due within one is
// begun together.
//
// The runtime is not told that the thread waits, for then its monitor looks
// after it a thousand times a second, for a tenth of all CPU time. Goroutines
// beside the loop have the other processors, and what stops the world
// interrupts. Where there is but one processor the runtime is told.
func (l *loop) await(events []syscall.EpollEvent, wait time.Duration) []syscall.EpollEvent {
	ms := 0
	if wait > 0 {
		ms = int((wait + time.Millisecond - 1) / time.Millisecond)
	}
	if l.alone {
		n, err := syscall.EpollWait(l.epoll, events, ms)
		if err != nil {
			return nil // interrupted
		}
		return events[:n]
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return nil
	}
	return events[:n]
}
