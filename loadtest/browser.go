package loadtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/farmspec/farmspec"
)

// browser is a virtual browser with one account and one session: its cookies
// and what it knows of its token. One goroutine at a time uses it.
//
// farmspec.Browser is for the truth and records everything; this one is for
// speed. It sends the same cookies (see rules) and follows the same redirects.
type browser struct {
	n    int
	user farmspec.User
	jar  jar
	// at is the member where the session is: which served the last page.
	at int
	// in says that it has a session, as far as it knows.
	in bool
	// doubt says that an answer was lost, or was none, and with it perhaps
	// the token's successor.
	doubt bool

	session uint32
	// token is the digest of the current token; kept counts acceptances
	// that brought no other.
	token mark
	kept  int
	// spent are the last two tokens it presented, newest first.
	spent [2]spent
	// began is when the session was logged in to, last when it was last used.
	began, last time.Duration
	// values are the last one written to each application, by its index.
	values []string
	writes int
}

// spent is a token that has been replaced, as it was sent.
type spent struct {
	c  cookie
	at int // the member it was sent to
	// when is the instant of its replacement, at the latest.
	when time.Duration
}

// forget makes it a browser without a session.
func (b *browser) forget() {
	b.in, b.doubt, b.kept, b.token = false, false, 0, 0
	b.spent = [2]spent{}
	b.values, b.writes = nil, 0
}

// member is a server as the load sees it.
type member struct {
	name   string
	origin *origin
	prefix string // of paths, "" or "/1"
	login  *url.URL
	logout *url.URL
	own    []*page // its HTML pages
}

// page is a protected page, with its address at every member.
type page struct {
	holder int
	at     []*url.URL // by member
	marker []byte
	echo   bool
}

// issue is a token that an answer brought.
type issue struct {
	m  mark
	at time.Duration
}

// click is one navigation with its redirects, and how it ended.
type click struct {
	q      request
	a      response
	sent   cookie // the token's cookie as the first request carried it; zero for none
	sentTo int    // member of the first request; -1 for none
	issued []issue
	// final is the address that answered last, member its server, or -1.
	final  *url.URL
	member int
	hops   int
	// began and ended count from the start of the run, like the issues' times.
	began, ended time.Duration
	// toLogin: it ended with a redirect to the log-in page, which was not followed.
	toLogin bool
	// lost: no answer, or an earlier try of a request may have been received too.
	lost bool
	// trouble names what kept an answer from coming; "" is an answer.
	trouble string
}

// reset prepares for another click, with the memory of the last.
func (c *click) reset() {
	c.a.reset()
	*c = click{a: c.a, issued: c.issued[:0], sentTo: -1, member: -1}
}

// maxRedirects bounds a click, as browsers have it.
const maxRedirects = 20

// errand says what a click asks for.
type errand struct {
	url *url.URL
	submission
	// login follows redirects to the log-in page too.
	login bool
}

// click navigates with the cookies of j and keeps those of the answers there.
// The result is valid until it is given back with done.
func (l *load) click(ctx context.Context, j *jar, e errand) *click {
	c := l.clicks.Get().(*click)
	c.reset()
	now := l.since()
	c.began, c.ended = now, now
	deadline := l.started.Add(now + l.Timeout)
	q := &c.q
	*q = request{method: http.MethodGet, url: e.url, submission: e.submission}
	if e.body != "" {
		q.method = http.MethodPost
	}
	for {
		o := l.origin(q.url)
		if o == nil {
			c.trouble = "sent elsewhere"
			return c
		}
		c.final, c.member = q.url, l.memberAt(o, q.url.Path)
		if e.body == "" && !e.login && c.hops > 0 && l.isLogin(c.member, q.url.Path) {
			c.toLogin = true
			return c
		}
		if c.hops > maxRedirects {
			c.trouble = "redirect loop"
			return c
		}
		q.to, q.cookie = o, j.header(o, q.url, l.wall(now))
		if c.hops == 0 || l.inAddress {
			if i := j.find(l.Target.Carrier.Name, o, q.url, l.wall(now)); i >= 0 {
				if c.hops == 0 {
					c.sent = j.cookies[i]
				}
				if l.inAddress && l.Target.Carrier.In(q.url) == "" {
					q.url = l.Target.Carrier.With(q.url, j.cookies[i].value())
				}
			}
		}
		if c.hops == 0 {
			c.sentTo = c.member
		}
		err := l.wire.exchange(ctx, deadline, q, &c.a)
		now = l.since()
		c.ended = now
		c.hops++
		c.lost = c.lost || c.a.again
		for _, line := range c.a.setCookies {
			name, value, ok := j.set(l.rules, o, q.url, line, l.wall(now))
			if ok && name == l.Target.Carrier.Name && value != "" {
				c.issued = append(c.issued, issue{l.mark(value), now})
			}
		}
		if l.inAddress {
			l.collect(c, j, q.url)
		}
		if err != nil {
			c.lost, c.trouble = true, trouble(err)
			return c
		}
		if !redirects(c.a.status) || c.a.location == "" {
			return c
		}
		if q.url, err = q.url.Parse(c.a.location); err != nil {
			c.trouble = "a redirect to no address"
			return c
		}
		if q.url.Path == "" {
			q.url.Path = "/"
		}
		if q.method == http.MethodPost && c.a.status < 307 {
			q.method, q.submission = http.MethodGet, submission{}
		}
	}
}

// collect keeps the token that an answer's addresses have for members, as
// farmspec.Browser does.
func (l *load) collect(c *click, j *jar, from *url.URL) {
	carrier := l.Target.Carrier
	refs := []string{c.a.location}
	if refs[0] == "" {
		if value := carrier.In(from); value != "" && bytes.Count(c.a.body, []byte(carrier.Name+"=")) == bytes.Count(c.a.body, []byte(carrier.Name+"="+value)) {
			return // nothing but the token that was sent
		}
		x := c.exchange(from)
		refs = farmspec.Links(x)
		for _, f := range farmspec.Forms(x) {
			refs = append(refs, f.Action)
		}
	}
	for _, ref := range refs {
		u, err := from.Parse(ref)
		if err != nil {
			continue
		}
		value, at := carrier.In(u), l.origin(u)
		if value == "" || at == nil {
			continue
		}
		known := j.find(carrier.Name, at, &url.URL{Path: "/"}, 0)
		for _, o := range l.origins {
			if o == at || l.Target.Topology != farmspec.SplitDomain {
				j.keep(cookie{pair: carrier.Name + "=" + value, nameLen: len(carrier.Name), scope: o.carried()})
			}
		}
		if known < 0 || l.mark(j.cookies[known].value()) != l.mark(value) {
			c.issued = append(c.issued, issue{l.mark(value), c.ended})
		}
		return
	}
}

// exchange is the answer as farmspec reads pages.
func (c *click) exchange(at *url.URL) *farmspec.Exchange {
	return &farmspec.Exchange{URL: at.String(), Status: c.a.status, Body: c.a.body, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}}
}

// done gives a click back. What it holds is reused.
func (l *load) done(c *click) { l.clicks.Put(c) }

func redirects(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// find returns the index of the named cookie that goes to u first, or -1.
func (j *jar) find(name string, o *origin, u *url.URL, now int64) int {
	for i := range j.cookies {
		if c := &j.cookies[i]; c.name() == name && c.goesTo(o, u, now) {
			return i
		}
	}
	return -1
}

const timedOut = "timed out"

// trouble names an error for counting. It shows no address.
func trouble(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return timedOut
	case errors.Is(err, context.Canceled):
		return "broken off"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files here"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no free port here"
	case errors.Is(err, errTooLong):
		return errTooLong.Error()
	case errors.As(err, &dns):
		return "name not found"
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "unsupported protocol"):
		return "no HTTP"
	case strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "x509:"):
		return "no TLS"
	}
	return "connection lost"
}

// verdict is how an answer treats a request for a page, as far as the answer
// alone tells.
type verdict uint8

const (
	served verdict = iota
	refused
	wrongUser
	noAnswer // no answer, or none by which the session was judged
)

// judge reads an answer as farmspec.Target.Judge does, and tells refusals from
// answers that do not judge the session, such as 503. The text names the latter.
func (c *click) judge(p *page, echo []byte) (verdict, string) {
	switch {
	case c.trouble != "":
		return noAnswer, c.trouble
	case c.toLogin:
		return refused, ""
	case bytes.Contains(c.a.body, p.marker):
		if c.a.status/100 == 2 && p.echo && !bytes.Contains(c.a.body, echo) {
			return wrongUser, ""
		}
		return served, ""
	case c.a.status/100 == 2, c.a.status == http.StatusUnauthorized, c.a.status == http.StatusForbidden:
		return refused, ""
	}
	return noAnswer, fmt.Sprintf("answered %d", c.a.status)
}

// form reads the first form of the page with all the fields, or with any if
// there are none, and fills it. It returns what to submit.
//
// A name chooses the form by its name or ID.
func (c *click) form(name string, values map[string]string) (errand, error) {
	for _, f := range farmspec.Forms(c.exchange(c.final)) {
		if f.Method != http.MethodPost || !hasAll(f, values) || name != "" && f.ID != name && f.Name != name {
			continue
		}
		to, err := url.Parse(f.Action)
		if err != nil {
			return errand{}, errors.New("the form leads to no address")
		}
		var b strings.Builder
		pressed := false
		for _, fd := range f.Fields {
			value, given := values[fd.Name]
			button := fd.Type == "submit" || fd.Type == "image"
			switch {
			case given:
			case button && !pressed:
				pressed, value = true, fd.Value
			case button || !fd.On:
				continue
			default:
				value = fd.Value
			}
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			b.WriteString(url.QueryEscape(fd.Name) + "=" + url.QueryEscape(value))
		}
		return c.submit(to, b.String()), nil
	}
	return errand{}, errors.New("no such form")
}

// submit is the errand of sending values, encoded as a form's, from the page.
func (c *click) submit(to *url.URL, values string) errand {
	if values == "" {
		values = "&" // a form without fields is a POST all the same
	}
	return errand{url: to, submission: submission{body: values, from: c.final, policy: c.a.policy}}
}

func hasAll(f farmspec.Form, values map[string]string) bool {
	for name := range values {
		if !f.Has(name) {
			return false
		}
	}
	return true
}
