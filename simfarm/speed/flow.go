package speed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// The whole claimed flow is: a browser asks the first member for a page that
// the second holds; the first opens the sealed token and redirects with ID and
// timestamp; the second compares them with the browser's own token, has the
// service verify and replace it, makes the page, seals the new token and
// answers with both.

// page is the path that is asked for: text in a layout, as most pages are.
const page = "/server-2/welcome.html"

// claimedFarm opens a farm of two members with a session, and returns what
// answers for each member. With inside, members call the service directly
// instead of by HTTP.
func claimedFarm(ctx context.Context, inside bool) (f *simfarm.Farm, handlers []http.Handler, sealed string, err error) {
	var service web.Service
	var sealer web.Sealer
	o := simfarm.Options{Servers: 2, Handoff: farmspec.Claimed, Unobserved: true, Users: []farmspec.User{{Name: "ada", Password: "pw"}}}
	o.Wrap.API = func(s web.Service) web.Service { service = s; return s }
	o.Wrap.Member = func(c *web.ServerConfig) {
		sealer = c.Sealer
		if inside {
			c.Sessions = service
		}
	}
	o.Wrap.Handler = func(process string, h http.Handler) http.Handler {
		if process != farmspec.ServiceProcess {
			handlers = append(handlers, h)
		}
		return h
	}
	if f, err = simfarm.Open(ctx, o); err != nil {
		return nil, nil, "", err
	}
	g, err := service.Login(ctx, reference.LoginRequest{User: "ada", Password: "pw"})
	if err == nil {
		sealed, err = sealer.Seal(g.Token)
	}
	if err != nil {
		return nil, nil, "", errors.Join(err, f.Close())
	}
	return f, handlers, sealed, nil
}

// inProcess calls the members' handlers, without a socket.
func inProcess(ctx context.Context) (Work, error) {
	f, handlers, sealed, err := claimedFarm(ctx, true)
	if err != nil {
		return Work{}, err
	}
	members := f.Members()
	first, err := url.Parse(members[0].URL + page)
	if err != nil {
		return Work{}, errors.Join(err, f.Close())
	}
	cookie := []string{cookieName + sealed}
	header := http.Header{"Cookie": cookie, "Accept": {"text/html"}}
	ask := (&http.Request{Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody}).WithContext(ctx)
	w := &answer{header: make(http.Header)}
	return Work{Close: f.Close, Do: repeat(func() error {
		w.reset()
		ask.URL, ask.Host = first, first.Host
		handlers[0].ServeHTTP(w, ask)
		if w.status != http.StatusSeeOther {
			return fmt.Errorf("the first server answered %d", w.status)
		}
		second, err := url.Parse(w.header.Get("Location"))
		if err != nil {
			return err
		}
		w.reset()
		ask.URL, ask.Host = second, second.Host
		handlers[1].ServeHTTP(w, ask)
		next, err := served(w.status, w.header, w.body.Bytes())
		cookie[0] = next
		return err
	})}, nil
}

// answer is a ResponseWriter that keeps what it is given.
type answer struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
func (a *answer) reset()                      { clear(a.header); a.body.Reset(); a.status = 0 }

var (
	cookieName = web.Farm{Topology: web.SharedDomain}.CookieName() + "="
	marker     = []byte("farm-page:" + page)
)

// served returns the cookie of the next request, once the page and a token are there.
func served(status int, header http.Header, body []byte) (string, error) {
	if status != http.StatusOK || !bytes.Contains(body, marker) {
		return "", fmt.Errorf("the second server answered %d without the page", status)
	}
	for _, set := range header["Set-Cookie"] {
		if strings.HasPrefix(set, cookieName) {
			pair, _, _ := strings.Cut(set, ";")
			return pair, nil
		}
	}
	return "", errors.New("the second server gave no token")
}

// overLoopback does the same through sockets: browser to both members, and
// the second member to the service, each over a connection that stays open.
func overLoopback(ctx context.Context) (Work, error) {
	f, _, sealed, err := claimedFarm(ctx, false)
	if err != nil {
		return Work{}, err
	}
	b := &loopback{cookie: cookieName + sealed, open: make(map[string]*wire)}
	first := f.Members()[0].URL + page
	return Work{
		Close: func() error { return errors.Join(b.close(), f.Close()) },
		Do: repeat(func() error {
			status, header, err := b.get(ctx, first)
			if err != nil {
				return err
			}
			if status != http.StatusSeeOther {
				return fmt.Errorf("the first server answered %d", status)
			}
			status, header, err = b.get(ctx, header.Get("Location"))
			if err != nil {
				return err
			}
			b.cookie, err = served(status, header, b.body.Bytes())
			return err
		}),
	}, nil
}

// loopback is a browser that does no more than the flow needs.
type loopback struct {
	cookie string
	open   map[string]*wire
	body   bytes.Buffer
}

type wire struct {
	net.Conn
	r *bufio.Reader
}

func (b *loopback) get(ctx context.Context, at string) (int, http.Header, error) {
	u, err := url.Parse(at)
	if err != nil {
		return 0, nil, err
	}
	w := b.open[u.Host]
	if w == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", u.Port()))
		if err != nil {
			return 0, nil, err
		}
		w = &wire{conn, bufio.NewReader(conn)}
		b.open[u.Host] = w
	}
	if _, err := fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/html\r\nCookie: %s\r\n\r\n", u.RequestURI(), u.Host, b.cookie); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return 0, nil, err
	}
	b.body.Reset()
	_, err = io.Copy(&b.body, resp.Body)
	return resp.StatusCode, resp.Header, errors.Join(err, resp.Body.Close())
}

func (b *loopback) close() error {
	var errs []error
	for _, w := range b.open {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}
