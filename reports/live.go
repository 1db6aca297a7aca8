package reports

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
)

// liveLine is a line of a terminal that is rewritten in place while total
// things are done one after another.
type liveLine struct {
	w           io.Writer
	t           Terminal
	now         func() time.Time
	total, done int
	began       time.Time
	drawn       time.Time
	live        bool // it is on the screen
}

func newLiveLine(w io.Writer, t Terminal) liveLine {
	l := liveLine{w: w, t: t, now: t.Now}
	if l.now == nil {
		l.now = time.Now
	}
	return l
}

// show writes the line, at most twenty times a second; on a plain file, never.
func (l *liveLine) show(line func() string) {
	if !l.t.TTY {
		return
	}
	now := l.now()
	if l.live && now.Sub(l.drawn) < 50*time.Millisecond {
		return
	}
	columns := cmp.Or(l.t.Width, maxColumns) - 1 // the last column would wrap
	fmt.Fprint(l.w, "\r"+clip(line(), columns)+"\x1b[K")
	l.drawn, l.live = now, true
}

func (l *liveLine) clear() {
	if l.live {
		fmt.Fprint(l.w, "\r\x1b[K")
		l.live = false
	}
}

// bar is how far it is, drawn and in numbers.
func (l *liveLine) bar() string {
	const cells = 16
	filled := 0
	if l.total > 0 {
		filled = min(cells*l.done/l.total, cells)
	}
	return fmt.Sprintf("%s%s %d/%d", strings.Repeat("█", filled), strings.Repeat("░", cells-filled), l.done, l.total)
}

// remaining guesses from the pace so far.
func (l *liveLine) remaining() string {
	spent := l.now().Sub(l.began)
	if l.done == 0 || l.done >= l.total || spent < time.Second {
		return ""
	}
	left := spent / time.Duration(l.done) * time.Duration(l.total-l.done)
	return ", about " + took(left.Round(time.Second)) + " left"
}

// Counter shows how many of a known number of things are done: one line
// rewritten in place on a terminal, occasional lines otherwise.
type Counter struct {
	liveLine
	noun   string
	missed int
}

// NewCounter returns a Counter of total things, which the noun names in the
// plural, and announces them. t.Every is 25 where it is zero. Errors of w are
// ignored: progress is no result.
func NewCounter(w io.Writer, t Terminal, noun string, total int) *Counter {
	t.Every = cmp.Or(max(t.Every, 0), 25)
	c := &Counter{liveLine: newLiveLine(w, t), noun: noun}
	c.total, c.began = total, c.now()
	fmt.Fprintf(w, "%d %s\n", total, noun)
	return c
}

// Done counts one thing, and whether it went as it should. Calls must not overlap.
func (c *Counter) Done(ok bool) {
	c.done++
	if !ok {
		c.missed++
	}
	switch {
	case c.done >= c.total:
		c.Close()
	case c.t.TTY:
		c.show(func() string { return c.bar() + " " + c.noun + c.amiss() + c.remaining() })
	case c.done%c.t.Every == 0:
		fmt.Fprintf(c.w, "%d of %d %s%s%s\n", c.done, c.total, c.noun, c.amiss(), c.remaining())
	}
}

func (c *Counter) amiss() string {
	if c.missed == 0 {
		return ""
	}
	return fmt.Sprintf(", %d amiss", c.missed)
}

// Close takes the live line away. It may be called at any time and twice.
func (c *Counter) Close() { c.clear() }
