package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/targetfile"
)

// Farms that answer badly are named, in bounded time and memory, and accused
// of nothing that they have not shown.
func TestBadAnswersAreNoFailures(t *testing.T) {
	page := bytes.Repeat([]byte("page "), 4<<10)
	at := func(path string, bad http.HandlerFunc) func(int, http.Handler) http.Handler {
		return func(_ int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					bad(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	pour := func(length string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			w.Header().Set("Content-Type", "text/html")
			for range 500 << 20 / len(page) {
				if _, err := w.Write(page); err != nil {
					return
				}
			}
		}
	}
	var asked atomic.Int64
	for _, tc := range []struct {
		name  string
		front func(int, http.Handler) http.Handler
	}{
		{"an endless page", at("/account", pour(""))},
		{"a page of 500 MB", at("/account", pour(fmt.Sprint(500<<20/len(page)*len(page))))},
		{"an endless log-in", at("/login", pour(""))},
		{"a page that trickles", at("/account", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("<"))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(50 * time.Millisecond):
				case <-r.Context().Done():
				}
			}
		})},
		{"a page that never comes", at("/account", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
		{"redirects in a circle", at("/account", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/account", http.StatusFound) })},
		{"redirects without end", func(_ int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/account") {
					http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
					return
				}
				next.ServeHTTP(w, r)
			})
		}},
		{"pages of another type", func(_ int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(retyped{w}, r)
			})
		}},
		{"cookies the size of a page", func(_ int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for i := range 8 {
					w.Header().Add("Set-Cookie", fmt.Sprintf("big%d=%s; Path=/", i, bytes.Repeat([]byte("x"), 20<<10)))
				}
				next.ServeHTTP(w, r)
			})
		}},
		{"headers of a megabyte", func(_ int, next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Set-Cookie", "big="+strings.Repeat("x", 1<<20))
				next.ServeHTTP(w, r)
			})
		}},
		{"a farm that goes down midway", func(_ int, next http.Handler) http.Handler {
			asked.Store(0)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 120 {
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, r)
			})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target, err := targetfile.Load(openShop(t, func(s *shop) { s.front = tc.front }).file(t))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.GC() // garbage is no growth, however rarely it is collected
			runtime.ReadMemStats(&before)
			began := time.Now()
			report, err := features.Judge(t.Context(), features.Options{
				Seed: 1, Timeout: time.Second, Parallel: 16, Run: []string{"login.*", "logout.*", "pages.protected*", "state.*"},
			}, target)
			if err != nil {
				t.Fatal(err)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			counts := map[farmspec.Verdict]int{}
			for _, r := range report.Results {
				counts[r.Verdict]++
				if r.Verdict == farmspec.Fail && r.Scenario != "logout.clears-cookies" {
					t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
				}
			}
			t.Logf("%v in %v, the heap from %d to %d MB", counts, time.Since(began).Round(time.Millisecond), before.HeapAlloc>>20, after.HeapAlloc>>20)
			if took := time.Since(began); took > 3*time.Minute {
				t.Errorf("it took %v", took)
			}
			if after.HeapAlloc > before.HeapAlloc+300<<20 {
				t.Errorf("the heap grew from %d to %d MB", before.HeapAlloc>>20, after.HeapAlloc>>20)
			}
		})
	}
}

// retyped answers with another content type than was meant.
type retyped struct{ http.ResponseWriter }

func (r retyped) WriteHeader(status int) {
	r.Header().Set("Content-Type", "application/octet-stream")
	r.ResponseWriter.WriteHeader(status)
}

// What is wrong with a certificate is told with the line and how to mend it,
// and a file that names the authority is proven over TLS.
func TestDoctorOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(c, parent *x509.Certificate) []byte {
		c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-48*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sign(root, root)})
	here, elsewhere := []net.IP{net.IPv4(127, 0, 0, 1)}, []net.IP{net.IPv4(192, 0, 2, 1)}
	hour := time.Now().Add(time.Hour)
	for _, tc := range []struct {
		name  string
		ips   []net.IP
		until time.Time
		ca    string // the line of the file
		code  int
		want  string
	}{
		{"trusted by the file", here, hour, "ca: ca.pem\n", 0, "describes its farm"},
		{"of an unknown authority", here, hour, "# no ca\n", farmspec.ExitNotReady, "an authority that is not trusted here; name a PEM file with the authority's certificate under ca"},
		{"of another host", elsewhere, hour, "ca: ca.pem\n", farmspec.ExitNotReady, "its certificate is for another host"},
		{"expired", here, time.Now().Add(-time.Hour), "ca: ca.pem\n", farmspec.ExitNotReady, "expired"},
		{"no authority in the file", here, hour, "ca: empty.pem\n", farmspec.ExitUsage, "empty.pem has no certificate; name a file with"},
		{"no file", here, hour, "ca: none.pem\n", farmspec.ExitUsage, "none.pem cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "shop"}, IPAddresses: tc.ips, NotAfter: tc.until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
			chain := tls.Certificate{Certificate: [][]byte{sign(leaf, root)}, PrivateKey: key}
			s := openShop(t, func(s *shop) { s.tls = &tls.Config{Certificates: []tls.Certificate{chain}} })
			path := s.file(t, "companions:", tc.ca+"companions:")
			for name, text := range map[string][]byte{"ca.pem": ca, "empty.pem": []byte("nothing")} {
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, out, errs := command(t, "doctor", path)
			if code != tc.code || !strings.Contains(out+errs, tc.want) || !strings.Contains(out+errs, path+":") {
				t.Errorf("exit code %d, want %d with %q\n%s%s", code, tc.code, tc.want, out, errs)
			}
		})
	}
}
