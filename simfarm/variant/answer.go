package variant

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// answer is a member's whole answer before it is sent.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// ask has the handler answer.
func ask(h http.Handler, r *http.Request) *answer {
	a := &answer{header: make(http.Header)}
	h.ServeHTTP(a, r)
	a.WriteHeader(http.StatusOK)
	return a
}

// show puts another body in the place of the answer's.
func (a *answer) show(status int, kind, body string) {
	a.status = status
	a.body.Reset()
	a.body.WriteString(body)
	a.header.Set("Content-Type", kind)
	a.header.Del("Location")
}

func (a *answer) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	if r.Method != http.MethodHead && h.Get("Content-Length") != "" {
		h.Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}

// members makes the wrap that changes what members put on the web.
func members(change func(h http.Handler) http.Handler) simfarm.Wrap {
	return simfarm.Wrap{Handler: func(process string, h http.Handler) http.Handler {
		if process == farmspec.ServiceProcess {
			return h
		}
		return change(h)
	}}
}

// edited makes the wrap that changes each answer of a member.
func edited(edit func(r *http.Request, a *answer)) simfarm.Wrap {
	return members(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := ask(h, r)
			edit(r, a)
			a.send(w, r)
		})
	})
}

// refused reports whether a member refused a navigation, and where it sent
// the browser to log in.
func refused(r *http.Request, a *answer) (login *url.URL, yes bool) {
	if a.status != http.StatusSeeOther || atLogin(r) {
		return nil, false
	}
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || !strings.HasSuffix(u.Path, web.LoginPath) {
		return nil, false
	}
	return u, true
}

func atLogin(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, web.LoginPath) }

const (
	html  = "text/html; charset=utf-8"
	plain = "text/plain; charset=utf-8"
)
