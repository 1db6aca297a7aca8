package web_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/memstore"
	"github.com/farmspec/farmspec/reference/web"
)

func quiet(c *web.ServerConfig) { c.Observer = nil }

// sink is a ResponseWriter that keeps the body in place.
type sink struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return s.body.Write(b) }
func (s *sink) reset()                      { clear(s.header); s.body.Reset(); s.status = 0 }

// BenchmarkAPIRenew is the hot call: from request to answer, without a network.
func BenchmarkAPIRenew(b *testing.B) {
	users := &reference.Users{Iterations: 1}
	if err := users.Add("ada", "pw"); err != nil {
		b.Fatal(err)
	}
	svc, err := reference.NewService(reference.Options{Store: memstore.Open(), Users: users})
	if err != nil {
		b.Fatal(err)
	}
	api := web.NewAPI(svc, web.APIOptions{Credentials: map[string]string{"server-1": secret1}})
	g, err := svc.Login(b.Context(), reference.LoginRequest{User: "ada", Password: "pw"})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/v1/renew", nil)
	r.Header.Set("Authorization", "Bearer "+secret1)
	r.Header.Set("Content-Type", "application/json")
	w := &sink{header: make(http.Header)}
	body := []byte(`{"token":{"id":"` + g.Token.ID.String() + `","timestamp":` + "0000000000000" + `}}`)
	const at, ts = len(`{"token":{"id":"`), len(`{"token":{"id":"`) + 32 + len(`","timestamp":`)
	text, err := g.Token.ID.MarshalText()
	if err != nil {
		b.Fatal(err)
	}
	copy(body[at:], text)
	copy(body[ts:], []byte(itoa(g.Token.Timestamp)))
	reader := bytes.NewReader(body)
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
		w.reset()
		api.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			b.Fatalf("answered %d %s", w.status, w.body.Bytes())
		}
		// The answer starts with the next token in the request's own spelling.
		copy(body[at:ts+13], w.body.Bytes()[at:ts+13])
	}
}

func itoa(n int64) string {
	var b [13]byte
	for i := range b {
		b[12-i] = byte('0' + n%10)
		n /= 10
	}
	return string(b[:])
}

// BenchmarkHop is the whole claimed flow in one process: page asked at one
// member, redirect, hand-off, renewal through the API, page and new token.
func BenchmarkHop(b *testing.B) {
	for _, handoff := range handoffs {
		b.Run(string(handoff), func(b *testing.B) {
			f := newFarm(b, shape{web.SharedDomain, handoff, reference.Strict, ""}, quiet)
			who := f.signedIn("ada")
			at := f.url(1, "/server-2/welcome.html")
			b.ReportAllocs()
			for b.Loop() {
				if a := who.visit(at); a.StatusCode != http.StatusOK || a.token(f) == "" {
					b.Fatalf("answered %d", a.StatusCode)
				}
			}
		})
	}
}
