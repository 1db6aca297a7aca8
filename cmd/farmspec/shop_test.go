package main

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farmspec/farmspec/ports"
)

// shop is a farm as most of the world has it: two members, one session store,
// one fixed cookie, forms with a CSRF field. It is honest unless a fault is
// planted, and knows nothing of farmspec.
type shop struct {
	// Faults, as they are got wrong.
	cookieOnlyLogOut bool          // log-out deletes the cookie and nothing else
	apart            bool          // members do not share their sessions
	idle             time.Duration // how long a session lives; zero is shopIdle

	// front, if there is one, stands before a member and changes its manners.
	front func(member int, next http.Handler) http.Handler

	tls *tls.Config // what members listen with; nil is plain HTTP

	Members []string // base addresses
	Control string   // moves the clock: POST /advance?seconds=N

	mu     sync.Mutex
	stores []map[string]*shopSession // one for each member; the same one where they share
	ahead  time.Duration

	passwords map[string]string // of users who changed theirs
	remembers bool              // nobody gets an old password again
	trusting  bool              // the present password is not looked at
}

type shopSession struct {
	user, csrf string
	values     map[string][]string
	used       time.Time
}

const (
	shopIdle     = 30 * time.Minute
	shopPassword = "correct horse"
)

func openShop(t *testing.T, plant func(*shop)) *shop {
	t.Helper()
	s := &shop{}
	if plant != nil {
		plant(s)
	}
	shared := map[string]*shopSession{}
	for i := range 2 {
		store := shared
		if s.apart {
			store = map[string]*shopSession{}
		}
		s.stores = append(s.stores, store)
		handler := s.member(i)
		if s.front != nil {
			handler = s.front(i, handler)
		}
		member := httptest.NewUnstartedServer(handler)
		member.Config.ErrorLog = log.New(io.Discard, "", 0)
		if member.TLS = s.tls; s.tls != nil {
			member.StartTLS()
		} else {
			member.Start()
		}
		t.Cleanup(member.Close)
		s.Members = append(s.Members, member.URL)
	}
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("seconds"))
		if err != nil || r.Method != http.MethodPost {
			http.Error(w, "seconds?", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.ahead += time.Duration(n) * time.Second
		s.mu.Unlock()
	}))
	t.Cleanup(control.Close)
	s.Control = control.URL
	return s
}

// member serves one of the shop's servers.
func (s *shop) member(n int) http.Handler {
	name := fmt.Sprintf("server-%d", n+1)
	mux := http.NewServeMux()
	show := func(w http.ResponseWriter, status int, title, body string) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<!doctype html><title>%s</title><h1>%s, by %s</h1>%s", title, title, name, body)
	}
	// session is the one of the request's cookie, or nil. The caller holds the lock.
	session := func(r *http.Request) (string, *shopSession) {
		c, err := r.Cookie("shop")
		if err != nil {
			return "", nil
		}
		found := s.stores[n][c.Value]
		if found == nil {
			return "", nil
		}
		if now := time.Now().Add(s.ahead); now.Sub(found.used) > cmp.Or(s.idle, shopIdle) {
			delete(s.stores[n], c.Value)
			return "", nil
		} else {
			found.used = now
		}
		return c.Value, found
	}
	set := func(w http.ResponseWriter, cookie, value string, age int) {
		http.SetCookie(w, &http.Cookie{Name: cookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: age})
	}
	protected := func(path string, methods []string, serve func(w http.ResponseWriter, r *http.Request, id string, in *shopSession)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			id, in := session(r)
			switch {
			case !slices.Contains(methods, r.Method):
				show(w, http.StatusMethodNotAllowed, "Not so", "")
			case in == nil && r.Method == http.MethodPost:
				show(w, http.StatusForbidden, "Log in first", "")
			case in == nil:
				w.Header().Set("Cache-Control", "no-store")
				http.Redirect(w, r, "/login?next="+url.QueryEscape(path), http.StatusSeeOther)
			case r.Method == http.MethodPost && r.PostFormValue("csrf") != in.csrf:
				show(w, http.StatusForbidden, "Not from our form", "")
			default:
				serve(w, r, id, in)
			}
		})
	}
	read := []string{http.MethodGet, http.MethodHead}
	write := append([]string{http.MethodPost}, read...)
	echo := func(in *shopSession) string {
		return "<p>Signed in as " + html.EscapeString(in.user) + `</p><p><a href="/logout">Log out</a></p>`
	}

	mux.HandleFunc("/about", func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, "About the shop", "") })
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		next := r.FormValue("next")
		if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\t\r\n") {
			next = "/account"
		}
		form := func(status int, title string) {
			token := rand.Text()
			set(w, "shop-form", token, 0)
			show(w, status, title, `<form method="post" action="/login"><input name="username"><input type="password" name="password">
				<input type="hidden" name="next" value="`+html.EscapeString(next)+`"><input type="hidden" name="csrf" value="`+token+`"><button>Log in</button></form>`)
		}
		if r.Method != http.MethodPost {
			form(http.StatusOK, "Log in")
			return
		}
		user := r.PostFormValue("username")
		guard, err := r.Cookie("shop-form")
		_, notNumber := strconv.Atoi(strings.TrimPrefix(user, "user"))
		if err != nil || guard.Value == "" || guard.Value != r.PostFormValue("csrf") || r.PostFormValue("password") != cmp.Or(s.passwords[user], shopPassword) ||
			!strings.HasPrefix(user, "user") || notNumber != nil {
			form(http.StatusForbidden, "Try again")
			return
		}
		if old, _ := session(r); old != "" {
			delete(s.stores[n], old)
		}
		id := rand.Text()
		s.stores[n][id] = &shopSession{user: user, csrf: rand.Text(), values: map[string][]string{}, used: time.Now().Add(s.ahead)}
		set(w, "shop", id, 0)
		http.Redirect(w, r, next, http.StatusSeeOther)
	})
	protected("/account", read, func(w http.ResponseWriter, _ *http.Request, _ string, in *shopSession) {
		show(w, http.StatusOK, "Your account", echo(in))
	})
	for path, title := range map[string]string{"/cart": "Your cart", "/wishes": "Your wishes"} {
		protected(path, write, func(w http.ResponseWriter, r *http.Request, _ string, in *shopSession) {
			if r.Method == http.MethodPost {
				in.values[path] = append(in.values[path], r.PostFormValue("item"))
			}
			var list strings.Builder
			for _, v := range in.values[path] {
				list.WriteString("<li>" + html.EscapeString(v))
			}
			show(w, http.StatusOK, title, echo(in)+"<ul>"+list.String()+`</ul><form method="post"><input name="item">
				<input type="hidden" name="csrf" value="`+in.csrf+`"><button>Add</button></form>`)
		})
	}
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		id, in := session(r)
		csrf := "none"
		if in != nil {
			csrf = in.csrf
		}
		switch {
		case r.Method != http.MethodPost:
			show(w, http.StatusOK, "Log out", `<form method="post"><input type="hidden" name="csrf" value="`+csrf+`"><button>Log out</button></form>`)
		case r.PostFormValue("csrf") != csrf:
			show(w, http.StatusForbidden, "Not from our form", "")
		default:
			if !s.cookieOnlyLogOut {
				delete(s.stores[n], id)
			}
			set(w, "shop", "", -1)
			http.Redirect(w, r, "/about", http.StatusSeeOther)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Referrer-Policy", "same-origin")
		mux.ServeHTTP(w, r)
	})
}

// file writes the target file of the shop and returns its path. Lines that
// begin with the first word of a pair are replaced by the second.
func (s *shop) file(t *testing.T, edits ...string) string {
	t.Helper()
	t.Setenv("SHOP_PASSWORD", shopPassword)
	text := `product: {name: Test shop, version: "1"}
members:
  - name: server-1
    url: ` + s.Members[0] + `
  - name: server-2
    url: ` + s.Members[1] + `
carrier:
  name: shop
companions: [shop-form]
login:
  path: /login
  user: username
  password: password
logout:
  path: /logout
echo: "Signed in as {user}"
pages:
  - path: /account
    marker: "Your account, by {member}"
apps:
  - name: cart
    path: /cart
    marker: "Your cart"
    field: item
  - name: wishes
    path: /wishes
    marker: "Your wishes"
    field: item
open:
  path: /about
  marker: "About the shop"
limits:
  idle: 30m
accounts:
  pattern: "user{n}"
  password: env:SHOP_PASSWORD
hooks:
  clock:
    advance: POST ` + s.Control + `/advance?seconds={seconds}
`
	for i := 0; i+1 < len(edits); i += 2 {
		changed := strings.Replace(text, edits[i], edits[i+1], 1)
		if changed == text {
			t.Fatalf("the target file has no %q", edits[i])
		}
		text = changed
	}
	path := filepath.Join(t.TempDir(), "shop.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// unused is a loopback address at which nothing listens, nor will.
func unused(t *testing.T) string {
	t.Helper()
	n, err := ports.Draw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", n)
}
