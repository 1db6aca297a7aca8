package variant

import (
	"compress/gzip"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/farmspec/farmspec/simfarm"
)

// Farms that speak HTTP in another of the ways it allows.

func init() {
	register(
		Variant{
			ID: "slow", Name: "Every answer takes 2 to 15 milliseconds more",
			Differs: "what overlaps and in which order it ends",
			Options: simfarm.Options{Rotation: "coalesce", Wrap: members(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(2*time.Millisecond + rand.N(13*time.Millisecond))
					h.ServeHTTP(w, r)
				})
			})},
		},
		Variant{
			ID: "connection-close", Name: "Every connection is closed after one answer",
			Differs: "no connection carries two requests, as with HTTP/1.0 or keep-alive off",
			Options: simfarm.Options{Wrap: edited(func(_ *http.Request, a *answer) { a.header.Set("Connection", "close") })},
		},
		Variant{
			ID: "gzip", Name: "Texts are compressed for whoever accepts it",
			Differs: "bodies are not to be read as they come; Vary says so",
			Options: simfarm.Options{Wrap: edited(func(r *http.Request, a *answer) {
				a.header.Add("Vary", "Accept-Encoding")
				if r.Method == http.MethodHead || a.body.Len() == 0 || a.status == http.StatusPartialContent || a.status == http.StatusNotModified ||
					!strings.HasPrefix(a.header.Get("Content-Type"), "text/") || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
					return
				}
				text := strings.Clone(a.body.String())
				a.body.Reset()
				z := gzip.NewWriter(&a.body)
				_, _ = z.Write([]byte(text))
				_ = z.Close()
				a.header.Set("Content-Encoding", "gzip")
			})},
		},
		Variant{
			ID: "chunked", Name: "Bodies come in chunks, without their length",
			Differs: "no Content-Length; the end of a body is a chunk's",
			Options: simfarm.Options{Handoff: "claimed", Topology: "split-domain", Wrap: members(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					a := ask(h, r)
					for name, values := range a.header {
						if name != "Content-Length" {
							w.Header()[name] = values
						}
					}
					w.WriteHeader(a.status)
					for _, piece := range strings.SplitAfter(a.body.String(), "\n") {
						_, _ = w.Write([]byte(piece))
						w.(http.Flusher).Flush()
					}
				})
			})},
		},
		Variant{
			ID: "found", Name: "Redirects have status 302",
			Differs: "302 in place of 303: RFC 9110, 15.4.3, and every older server",
			Options: simfarm.Options{Wrap: edited(func(_ *http.Request, a *answer) {
				if a.status == http.StatusSeeOther {
					a.status = http.StatusFound
				}
			})},
		},
		Variant{
			ID: "temporary-redirect", Name: "Hops have status 307",
			Differs: "307 for safe methods too: RFC 9110, 15.4.8",
			Options: simfarm.Options{Handoff: "direct", Wrap: edited(func(r *http.Request, a *answer) {
				if a.status == http.StatusSeeOther && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
					a.status = http.StatusTemporaryRedirect
				}
			})},
		},
		Variant{
			ID: "relative-redirects", Name: "Where a redirect stays on its server, it names the path alone",
			Differs: "a relative Location, which RFC 9110, 10.2.2, allows",
			Options: simfarm.Options{Rotation: "read-verify", Replay: "revoke-family", Wrap: edited(func(r *http.Request, a *answer) {
				if to, ok := strings.CutPrefix(a.header.Get("Location"), "http://"+r.Host); ok {
					a.header.Set("Location", to)
				}
			})},
		},
		Variant{
			ID: "whole-resources", Name: "Resources are served whole: no ranges, no validators, no conditions",
			Differs: "Range and If-None-Match may be ignored (RFC 9110, 14.2 and 13.1)",
			Options: simfarm.Options{Wrap: members(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
						r.Header.Del(name)
					}
					a := ask(h, r)
					a.header.Del("Etag")
					a.header.Del("Accept-Ranges")
					a.send(w, r)
				})
			})},
		},
		Variant{
			ID: "other-headers", Name: "Other headers of cache and security",
			Differs: "private, no-store in place of no-store; HSTS, a second content policy, and what servers boast of",
			Options: simfarm.Options{Handoff: "claimed", Rotation: "coalesce", Replay: "revoke-family", Wrap: edited(func(_ *http.Request, a *answer) {
				if a.header.Get("Cache-Control") == "no-store" {
					a.header.Set("Cache-Control", "private, no-store, max-age=0")
					a.header.Set("Pragma", "no-cache")
					a.header.Set("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")
				}
				a.header.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
				a.header.Add("Content-Security-Policy", "script-src 'self'; frame-ancestors 'none'")
				a.header.Set("Permissions-Policy", "camera=(), microphone=()")
				a.header.Set("Cross-Origin-Opener-Policy", "same-origin")
				a.header.Set("Server", "shop")
			})},
		},
	)
}
