package mutant

import (
	"bytes"
	"context"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

func init() {
	for _, kind := range []struct{ id, suffix, requirement string }{
		{"M152", ".html", "WF-12.1"}, {"M153", ".jsp", "WF-12.2"}, {"M154", ".asp", "WF-12.3"}, {"M155", ".jar", "WF-12.4"},
	} {
		register(Fault{
			ID: kind.id, Name: "an output cache before the farm gives pages in " + kind.suffix + " to anybody", Violates: []string{kind.requirement},
			Convicts: []string{"pages.protected"}, Level: farmspec.Black, Precedent: "web cache deception",
			Plant: outputCache(func(r *http.Request) (string, bool) {
				return r.URL.Path, strings.HasSuffix(r.URL.Path, kind.suffix)
			}, whole),
		})
	}
	register(
		Fault{
			ID: "M151", Name: "only HTML pages bring the new token", Violates: []string{"WF-12.2", "WF-12.3", "WF-12.4"},
			Convicts: []string{"pages.whole-way"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				d.next.ServeHTTP(&changed{ResponseWriter: w, change: func(status int, h http.Header) int {
					if p, ok := d.page(r); ok && p.Kind != web.HTML && status/100 == 2 {
						h.Del("Set-Cookie")
					}
					return status
				}}, r)
			}),
		},
		Fault{
			ID: "M156", Name: "the guard knows a page's plain address and the file server others too", Violates: []string{"WF-12.1", "WF-12.2", "WF-12.3", "WF-12.4"},
			Convicts: []string{"pages.spelling"}, Level: farmspec.Black, Precedent: "Spring Security CVE-2016-5007",
			Plant: outputCache(func(r *http.Request) (string, bool) {
				clean := path.Clean("/" + r.URL.Path)
				return clean, clean != r.URL.Path
			}, whole),
		},
		Fault{
			ID: "M157", Name: "the guard minds the case of letters and the file server does not", Violates: []string{"WF-12.1", "WF-12.2", "WF-12.3", "WF-12.4"},
			Convicts: []string{"pages.spelling"}, Level: farmspec.Black,
			Plant: outputCache(func(r *http.Request) (string, bool) {
				lower := strings.ToLower(r.URL.Path)
				return lower, lower != r.URL.Path
			}, whole),
		},
		Fault{
			ID: "M158", Name: "whatever has a ;jsessionid= passes the guard", Violates: []string{"WF-12.2"},
			Convicts: []string{"pages.path-parameter"}, Level: farmspec.Black,
			Plant: outputCache(func(r *http.Request) (string, bool) {
				page, parameter, ok := strings.Cut(r.URL.Path, ";")
				return page, ok && strings.HasPrefix(strings.ToLower(parameter), "jsessionid=")
			}, whole),
		},
		Fault{
			ID: "M159", Name: "a token in ;jsessionid= is as good as a cookie", Violates: []string{"WF-12.2"},
			Convicts: []string{"pages.path-parameter"}, Level: farmspec.Black, Precedent: "Jakarta Servlet 6.0, 7.1.3",
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				if _, token, ok := strings.Cut(r.URL.Path, ";jsessionid="); ok && d.token(r) == "" {
					d.setToken(r, token)
				}
				d.next.ServeHTTP(w, r)
			}),
		},
		Fault{
			ID: "M160", Name: "a range of an applet is given to anybody", Violates: []string{"WF-12.4"},
			Convicts: []string{"pages.applet-parts"}, Level: farmspec.Black,
			Plant: outputCache(func(r *http.Request) (string, bool) {
				return r.URL.Path, r.Header.Get("Range") != "" && strings.HasSuffix(r.URL.Path, ".jar")
			}, whole),
		},
		Fault{
			ID: "M161", Name: "a condition is answered before the session is looked at", Violates: []string{"WF-12.4"},
			Convicts: []string{"pages.applet-parts"}, Level: farmspec.Black,
			Plant: outputCache(func(r *http.Request) (string, bool) {
				return r.URL.Path, r.Header.Get("If-None-Match") != ""
			}, func(w http.ResponseWriter, r *http.Request, kept *buffered) {
				w.Header().Set("Etag", kept.header.Get("Etag"))
				w.WriteHeader(http.StatusNotModified)
			}),
		},
		Fault{
			ID: "M162", Name: "HEAD is not guarded", Violates: []string{"WF-12.4"},
			Convicts: []string{"pages.applet-parts"}, Level: farmspec.Black, Precedent: "HTTP verb tampering with web.xml security constraints",
			Plant: outputCache(func(r *http.Request) (string, bool) { return r.URL.Path, r.Method == http.MethodHead }, whole),
		},
		Fault{
			ID: "M163", Name: "every page is reached by way of another server", Violates: []string{"WF-L"},
			Convicts: []string{"pages.holder-at-once"}, Level: farmspec.Black,
			Plant: door(func(d *doorway, w http.ResponseWriter, r *http.Request) {
				p, ok := d.page(r)
				if !ok || p.Member != d.Name || r.Method != http.MethodGet || d.handoff(r.URL.RawQuery) != "" || d.token(r) == "" {
					d.next.ServeHTTP(w, r)
					return
				}
				for _, m := range d.Farm.Directory.Members() {
					if m.Name != d.Name {
						http.Redirect(w, r, m.URL+p.Path, http.StatusSeeOther)
						return
					}
				}
			}),
		},
		Fault{
			ID: "M164", Name: "the holder of a page verifies a token that came without a hand-off and does not replace it", Violates: []string{"WF-4.1", "WF-L"},
			Convicts: []string{"pages.holder-spends"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) { c.Sessions = renewsHandoffs{c.Sessions} }),
		},
	)
}

// outputCache plants a cache in front of the members, shared by all users: it
// keeps what was served and gives it, under the address that which makes of a
// request, to who brings no token.
func outputCache(which func(*http.Request) (address string, serves bool), give func(http.ResponseWriter, *http.Request, *buffered)) func() simfarm.Wrap {
	return func() simfarm.Wrap {
		var kept sync.Map // address to *buffered
		return inDoorways(func(d *doorway, w http.ResponseWriter, r *http.Request) {
			if address, ok := which(r); ok && d.token(r) == "" {
				if b, ok := kept.Load(address); ok {
					give(w, r, b.(*buffered))
					return
				}
			}
			if _, ok := d.page(r); !ok || r.Method != http.MethodGet || r.Header.Get("Range") != "" {
				d.next.ServeHTTP(w, r)
				return
			}
			b := &buffered{header: http.Header{}, status: http.StatusOK}
			d.next.ServeHTTP(b, r)
			if b.status == http.StatusOK {
				kept.Store(r.URL.Path, b)
			}
			b.send(w)
		})
	}
}

// whole serves what was kept, with the ranges and conditions of the request.
func whole(w http.ResponseWriter, r *http.Request, kept *buffered) {
	for _, name := range []string{"Content-Type", "Etag", "Cache-Control"} {
		w.Header()[name] = kept.header[name]
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(kept.body.Bytes()))
}

// renewsHandoffs replaces the tokens that were handed over, and no others.
type renewsHandoffs struct{ reference.Sessions }

func (s renewsHandoffs) Renew(ctx context.Context, r reference.Presented) (reference.Grant, error) {
	if r.HandedOffAt == 0 {
		return s.Verify(ctx, r)
	}
	return s.Sessions.Renew(ctx, r)
}
