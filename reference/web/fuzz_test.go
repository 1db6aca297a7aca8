package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
)

// serveRaw gives a member a request whose parts no client library has tidied.
func serveRaw(f *farm, method string, u *url.URL, header http.Header, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL, r.RequestURI, r.Host = u, u.String(), "s2.farm.localhost:8080"
	r.Header = header
	w := httptest.NewRecorder()
	f.servers["server-2"].ServeHTTP(w, r)
	return w
}

// declared fails on an answer that no member gives, or one that gives away a page.
func declared(t *testing.T, w *httptest.ResponseRecorder, protected bool) {
	t.Helper()
	switch w.Code {
	case 200, 303, 401, 403, 404, 405, 415, 421:
	default:
		t.Errorf("answered %d: %s", w.Code, w.Body)
	}
	if protected && (strings.Contains(w.Body.String(), "Signed in as") || strings.Contains(w.Body.String(), "farm-page:/server") || len(w.Result().Cookies()) > 0) {
		t.Errorf("a stranger was served: %d %s", w.Code, w.Body)
	}
}

func FuzzCookie(f *testing.F) {
	sealed := newFarm(f, shape{web.SharedDomain, web.Sealed, reference.Strict, ""}, quiet)
	for _, s := range []string{"", "x", "__Secure-farm=", "__Secure-farm=AAAA; __Secure-farm=", `__Secure-farm="a"`, ";;=;", "__Host-farm-at=server-1; __Host-farm-form=x",
		"__Secure-farm=" + strings.Repeat("A", 72)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cookie string) {
		for _, path := range []string{"/server-2/welcome.html", "/server-1/welcome.html", "/server-2/chart.jar"} {
			declared(t, serveRaw(sealed, http.MethodGet, &url.URL{Path: path}, http.Header{"Cookie": {cookie}}, ""), true)
		}
		declared(t, serveRaw(sealed, http.MethodGet, &url.URL{Path: "/login"}, http.Header{"Cookie": {cookie}}, ""), false)
		declared(t, serveRaw(sealed, http.MethodPost, &url.URL{Path: "/logout"}, http.Header{"Cookie": {cookie}, "Content-Type": {"application/x-www-form-urlencoded"}}, cookie), false)
	})
}

func FuzzURL(f *testing.F) {
	var farms []*farm
	for _, h := range handoffs {
		farms = append(farms, newFarm(f, shape{web.SharedDomain, h, reference.Strict, ""}, quiet))
	}
	f.Add("/server-2/welcome.html", "sid=00000000000000000000000000000001&ts=1")
	f.Add("/server-2/welcome.html", "handoff=AAAA&ref=0&farm-bounce=999999999999")
	f.Add("/server-2/report.jsp;jsessionid=x", "%zz&;&=&handoff")
	f.Add("//server-2\\..//;", "")
	f.Add("/login", "next=//evil")
	f.Add("/internal/handoff", "")
	f.Fuzz(func(t *testing.T, path, query string) {
		for _, fm := range farms {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				w := serveRaw(fm, method, &url.URL{Path: path, RawQuery: query}, http.Header{"Accept": {"text/html"}}, query)
				declared(t, w, !strings.HasPrefix(path, "/log"))
				if to := w.Header().Get("Location"); to != "" && !strings.HasPrefix(to, "http://s2.farm.localhost:8080/login?next=") {
					t.Errorf("led to %q", to)
				}
			}
		}
	})
}

func FuzzServiceJSON(f *testing.F) {
	fm := newFarm(f, shape{web.SharedDomain, web.Sealed, reference.Strict, ""}, quiet)
	for _, s := range []string{"", "{}", `{"token":{"id":"00000000000000000000000000000001","timestamp":1}}`, `{"token":{"id":"00000000000000000000000000000001","timestamp":1},"handed_off_at":1}`,
		`{"user":"ada","password":"x"}`, `{"session":"00000000000000000000000000000001","http_session":{"application":"a","version":0,"attributes":{"A":"b"}}}`, `{"all":true}`, "[[[["} {
		f.Add(s)
	}
	paths := []string{"/v1/login", "/v1/renew", "/v1/verify", "/v1/logout", "/v1/http-sessions/open", "/v1/http-sessions/save", "/v1/http-sessions/end",
		"/v1/http-sessions/create"}
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range paths {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+secret1)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			fm.api.ServeHTTP(w, r)
			switch w.Code {
			case 400, 403, 404, 409, 410, 413:
			default:
				t.Errorf("%s answered %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// FuzzPresented holds the fast reader of the hot call to the strict one.
func FuzzPresented(f *testing.F) {
	fm := newFarm(f, shape{web.SharedDomain, web.Sealed, reference.Strict, ""}, quiet)
	f.Add(`{"token":{"id":"00000000000000000000000000000001","timestamp":1}}`)
	f.Add(`{"token":{"id":"00000000000000000000000000000001","timestamp":01}}`)
	f.Add(`{"token":{"id":"0000000000000000000000000000000g","timestamp":1},"handed_off_at":9223372036854775807}`)
	f.Fuzz(func(t *testing.T, body string) {
		ask := func(body string) (int, string) {
			r := httptest.NewRequest(http.MethodPost, "/v1/verify", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+secret1)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			fm.api.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		fast, fastBody := ask(body)
		slow, slowBody := ask(" " + body) // a space keeps it from the fast reader
		if len(body) < 8000 && (fast != slow || fastBody != slowBody) {
			t.Errorf("%q: %d %s, and with a space before it %d %s", body, fast, fastBody, slow, slowBody)
		}
	})
}
