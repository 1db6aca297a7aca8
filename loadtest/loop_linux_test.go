package loadtest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
)

// byHand is a loop that a test takes from step to step, and the server whose
// connections it watches.
type byHand struct {
	*loop
	test   *testing.T
	server *net.TCPListener
	events [8]syscall.EpollEvent
	begun  uint64
}

func newByHand(t *testing.T, browsers int) *byHand {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := signedIn(t, server.Addr().String(), browsers)
	h := &byHand{loop: &loop{stage: s, w: s.wire.(*fastWire), idle: shelf[*fastLine]{}, now: time.Now()}, test: t, server: server.(*net.TCPListener)}
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.others.Wait()
		if len(h.parked) > 0 {
			t.Errorf("%d page views have not ended", len(h.parked))
		}
		h.close()
		_ = server.Close()
	})
	return h
}

// view begins a page view.
func (h *byHand) view() {
	j := h.job(Arrival{N: h.begun})
	j.action = View
	h.begun++
	h.begin(j)
}

// dialing reports whether a page view waits for a connection.
func (h *byHand) dialing() bool {
	return slices.ContainsFunc(h.parked, func(f *fiber) bool { return f.dials })
}

// until has the loop go on until it is so.
func (h *byHand) until(so func() bool) {
	h.test.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); {
		if time.Now().After(end) {
			h.test.Fatal("20 s are over")
		}
		h.goOn()
		h.happened(h.await(h.events[:], patience))
	}
}

// ended waits until so many page views have, and returns their outcomes.
func (h *byHand) ended(n int) (outcomes []string) {
	h.test.Helper()
	h.until(func() bool { return len(h.t.new) == n })
	for _, r := range h.t.new {
		outcomes = append(outcomes, r.outcome)
	}
	return outcomes
}

// accept takes the connection that a page view makes, and its request.
func (h *byHand) accept() *peer {
	h.test.Helper()
	h.until(func() bool { return !h.dialing() })
	end := time.Now().Add(20 * time.Second)
	if err := h.server.SetDeadline(end); err != nil {
		h.test.Fatal(err)
	}
	conn, err := h.server.Accept()
	if err != nil {
		h.test.Fatalf("no page view has made a connection: %v", err)
	}
	if err := conn.SetDeadline(end); err != nil {
		h.test.Fatal(err)
	}
	p := &peer{conn, bufio.NewReader(conn), h}
	h.test.Cleanup(p.end)
	p.request()
	return p
}

// peer is a connection as its server has it.
type peer struct {
	net.Conn
	in *bufio.Reader
	h  *byHand
}

func (p *peer) end() { _ = p.Close() }

func (p *peer) request() {
	p.h.test.Helper()
	if _, err := http.ReadRequest(p.in); err != nil {
		p.h.test.Fatal(err)
	}
}

func (p *peer) say(text string) {
	p.h.test.Helper()
	if _, err := p.Write([]byte(text)); err != nil {
		p.h.test.Fatal(err)
	}
}

// page is an answer with a token of that name.
func (h *byHand) page(token string) string {
	body := "Signed in as user-1 " + pageMarker
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nSet-Cookie: __Secure-farm=%s; Path=/; Secure; HttpOnly\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body)
}

// next waits for an event and does not let it happen yet.
func (h *byHand) next() []syscall.EpollEvent {
	h.test.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if e := h.await(h.events[:], patience); len(e) > 0 {
			return slices.Clone(e)
		}
	}
	h.test.Fatal("nothing has happened for 20 s")
	return nil
}

var accepted = farmspec.LoadAccepted

func (h *byHand) want(outcomes ...string) {
	h.test.Helper()
	if got := h.ended(len(outcomes)); !slices.Equal(got, outcomes) {
		h.test.Fatalf("outcomes %q, want %q", got, outcomes)
	}
}

func TestConnectionsOfALoop(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(*byHand)
		why  string
	}{
		{"used again", func(h *byHand) {
			h.view()
			p := h.accept()
			p.say(h.page("a"))
			h.want(accepted)
			h.view()
			p.request()
			p.say(h.page("b"))
			h.want(accepted, accepted)
		}, "who keeps connections asks again on them"},
		{"an answer in parts", func(h *byHand) {
			h.view()
			p := h.accept()
			text := h.page("a")
			for _, part := range []string{text[:3], text[3:40], text[40:90], text[90:]} {
				p.say(part)
				h.happened(h.next())
			}
			h.want(accepted)
		}, "TCP cuts where it likes"},
		{"an answer to nothing", func(h *byHand) {
			h.view()
			p := h.accept()
			p.say(h.page("a"))
			h.want(accepted)
			p.say("HTTP/1.1 303 See Other\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n")
			h.happened(h.next())
			h.view()
			h.accept().say(h.page("b"))
			h.want(accepted, accepted)
		}, "taken for the answer to the next request it would be a refusal that the farm never made"},
		{"an answer to nothing, at once with another's redirect", func(h *byHand) {
			h.view()
			p := h.accept()
			h.view()
			q := h.accept()
			p.say(h.page("a"))
			h.want(accepted)
			p.say("HTTP/1.1 503 Unasked\r\nContent-Length: 0\r\n\r\n")
			q.say("HTTP/1.1 303 See Other\r\nLocation: /server-1/welcome.html?on\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			batch := h.next()
			for len(batch) < 2 {
				batch = append(batch, h.next()...)
			}
			if h.lineAt(batch[0].Fd).f == nil { // the redirect first: it asks for a connection
				slices.Reverse(batch)
			}
			h.happened(batch)
			h.accept().say(h.page("b"))
			h.want(accepted, accepted)
		}, "events come in any order, and the one that says a connection is useless may be the last"},
		{"closed while unused", func(h *byHand) {
			h.view()
			p := h.accept()
			p.say(h.page("a"))
			h.want(accepted)
			p.end()
			h.happened(h.next())
			h.view()
			h.accept().say(h.page("b"))
			h.want(accepted, accepted)
			if slices.ContainsFunc(h.browsers, func(b *browser) bool { return b.doubt }) {
				h.test.Error("the browser doubts what has become of its token, which was sent once")
			}
		}, "servers close connections that they are tired of"},
		{"half closed while unused", func(h *byHand) {
			h.view()
			p := h.accept()
			p.say(h.page("a"))
			h.want(accepted)
			if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				h.test.Fatal(err)
			}
			h.happened(h.next())
			h.view()
			h.accept().say(h.page("b"))
			h.want(accepted, accepted)
		}, "its end comes once, so a request sent after it would wait for its deadline"},
		{"a number taken again within a batch", func(h *byHand) {
			h.view()
			p := h.accept()
			p.say(h.page("a"))
			h.want(accepted)
			p.end()
			late := h.next() // and not heeded before the next request
			h.view()
			h.happened(late) // the request fails and is sent again
			q := h.accept()
			for range 3 { // as if they came later in the batch
				h.happened(late)
			}
			if len(h.parked) != 1 || len(h.t.new) != 1 {
				h.test.Fatalf("%d page views wait, %d have ended", len(h.parked), len(h.t.new))
			}
			q.say(h.page("b"))
			h.want(accepted, accepted)
			if n := slices.IndexFunc(h.lines, func(x *fastLine) bool { return x != nil }); n != int(late[0].Fd) {
				h.test.Logf("the system gave number %d, not %d again", n, late[0].Fd)
			}
		}, "an event of the closed connection wakes whoever has its number now, who must go on waiting"},
		{"given up while it connects", func(h *byHand) {
			connecting := make(chan struct{})
			h.w.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				close(connecting)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			ctx, giveUp := context.WithCancel(h.views)
			h.views = ctx
			h.view()
			<-connecting
			giveUp()
			h.look()
			if len(h.parked) != 1 {
				h.test.Fatal("the page view has ended, and somebody still connects for it")
			}
			h.want("broken off")
		}, "who connects wakes the page view, so nothing else may"},
		{"given up with more to read", func(h *byHand) {
			h.view()
			p := h.accept()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			go func() { _, _ = p.Write(make([]byte, 900_000)) }()
			for len(h.eager) == 0 {
				h.happened(h.next())
			}
			h.now = h.now.Add(time.Hour)
			h.look()
			h.want(timedOut)
			h.view() // it may get the number of the connection that was given up
			q := h.accept()
			h.goOn()
			q.say(h.page("b"))
			h.want(timedOut, accepted)
		}, "whoever is to read on may have gone"},
		{"lost before the answer", func(h *byHand) {
			h.view()
			h.accept().end()
			h.want("connection lost")
			if !slices.ContainsFunc(h.browsers, func(b *browser) bool { return b.doubt }) {
				h.test.Error("the browser is sure of its token, which the server may have replaced")
			}
		}, "a new connection is no sign that nobody has read the request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newByHand(t, 2)
			tc.run(h)
			if t.Failed() {
				t.Log(tc.why)
			}
		})
	}
}

// An engine that cannot begin has missed every arrival.
func TestLoopThatCannotBegin(t *testing.T) {
	s := signedIn(t, "127.0.0.1:1", 1)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}()
	pace, err := Constant(50)
	if err != nil {
		t.Fatal(err)
	}
	Fast{}.drive(t.Context(), &schedule{pacer: pace.Pacer, end: time.Second}, s)
	if len(s.t.new) != 49 || slices.ContainsFunc(s.t.new, func(r record) bool { return !r.missed }) || !strings.Contains(strings.Join(s.notes, " "), "could not begin") {
		t.Errorf("%d records, notes %q; want 49 arrivals missed and a note", len(s.t.new), s.notes)
	}
}
