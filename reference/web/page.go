package web

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaxSlow bounds how long a slow page takes.
const MaxSlow = 10 * time.Second

//go:embed assets
var files embed.FS

// assets are the files that pages link to, by path under a member's base address.
var assets = map[string]asset{
	"/static/farm.css": newAsset("farm.css", "text/css; charset=utf-8"),
	"/static/farm.js":  newAsset("farm.js", "text/javascript; charset=utf-8"),
}

type asset struct {
	kind, tag string
	body      []byte
}

func newAsset(name, kind string) asset {
	body, err := files.ReadFile("assets/" + name)
	if err != nil {
		panic("web: " + err.Error()) // it is embedded
	}
	return asset{kind, entityTag(body), body}
}

func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

func (v *visit) asset(a asset) {
	if !v.allow("GET, HEAD") {
		return
	}
	h := v.w.Header()
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Content-Type", a.kind)
	h.Set("Etag", a.tag)
	http.ServeContent(v.w, v.r, "", time.Time{}, bytes.NewReader(a.body))
}

// templates are the pages, each within the layout.
var templates = func() map[string]*template.Template {
	all := make(map[string]*template.Template)
	for _, name := range []string{"notice", "about", "login", "logout", "sso", "admin", string(home), string(whoami),
		string(Text), string(Dynamic), string(Chart), string(Cart), string(Tally), string(End), string(Slow),
		string(account), string(password), string(transfer)} {
		all[name] = template.Must(template.ParseFS(files, "assets/layout.html", "assets/said.html", "assets/"+name+".html"))
	}
	return all
}()

// pageData is what the layout shows; Content is for the page inside it.
type pageData struct {
	Base, Member, Title, Marker, User string
	Path                              string
	Farm                              Farm
	HandedOff                         bool
	// Lived is how long the token lived that this request replaced; "" where it replaced none.
	Lived string
	// Strip names the parameters to take out of the address bar, by spaces.
	Strip   string
	Content any
}

var pageBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// html answers an admitted request with a page; the new token travels with it.
func (v *visit) html(status int, name, title string, content any) error {
	return v.render(name, title, content, func(body []byte) { v.respond(status, textHTML, body) })
}

// notice answers with a page that says why there is none. It shows no marker.
func (v *visit) notice(status int, title, text string) {
	write := func(body []byte) { v.write(status, textHTML, body) }
	if err := v.render("notice", title, text, write); err != nil {
		v.write(status, nil, []byte(title+"\n"))
	}
}

// pageData is what the layout shows of the request.
func (v *visit) pageData(name, title string, content any) pageData {
	d := pageData{Base: v.base, Member: v.Name, Title: title, Path: v.path, Farm: v.Farm, Content: content}
	if name != "notice" {
		d.Marker, d.User, d.HandedOff = "farm-page:"+v.path, v.grant.User, v.handedOff
	}
	if d.HandedOff {
		d.Strip = strings.TrimSpace(v.params.ID + " " + v.params.Timestamp + " " + v.params.Sealed)
	}
	if d.User != "" {
		d.Lived = v.lived()
	}
	return d
}

// lived is how long the token lived that the request replaced; "" where it replaced none.
func (v *visit) lived() string {
	if v.fresh == "" {
		return ""
	}
	return (time.Duration(v.grant.Token.Timestamp-v.presented.Timestamp) * time.Millisecond).String()
}

// render makes a page and, once it is whole, has it written.
func (v *visit) render(name, title string, content any, write func([]byte)) error {
	b := pageBuffers.Get().(*bytes.Buffer)
	defer pageBuffers.Put(b)
	b.Reset()
	if err := templates[name].ExecuteTemplate(b, "layout", v.pageData(name, title, content)); err != nil {
		return fmt.Errorf("make page %s: %w", v.path, err)
	}
	write(b.Bytes())
	return nil
}

// show makes the admitted page. It writes nothing before it is whole.
func (v *visit) show() error {
	switch p := v.page; p.View {
	case Archive:
		v.archive()
		return nil
	case Cart, Tally:
		return v.application()
	case End:
		return v.endApplication()
	case account, password, transfer:
		return v.lookAfterAccount()
	case Dynamic:
		return v.html(http.StatusOK, string(Dynamic), p.Title, struct {
			Kind Kind
			Now  time.Time
			Made int64
		}{p.Kind, v.Now(), v.made[p.Path].Add(1)})
	case Chart:
		return v.still(string(Chart), p.Title, strings.TrimSuffix(p.Path, ".html")+".jar")
	case Slow:
		return v.html(http.StatusOK, string(Slow), p.Title, v.linger())
	case home:
		return v.html(http.StatusOK, string(home), p.Title, v.neighbours())
	case whoami:
		if accept := v.r.Header.Get("Accept"); strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html") {
			return v.whoamiJSON()
		}
		return v.html(http.StatusOK, string(whoami), p.Title, nil)
	default:
		return v.still(string(Text), p.Title, p.Kind)
	}
}

// linger takes as long as ?ms= asks for, within MaxSlow, and returns that.
func (v *visit) linger() time.Duration {
	ms, err := strconv.ParseUint(v.r.URL.Query().Get("ms"), 10, 32)
	if err != nil {
		return 0
	}
	d := min(time.Duration(ms)*time.Millisecond, MaxSlow)
	if d > 0 {
		ctx, cancel := context.WithTimeout(v.ctx, d)
		defer cancel()
		<-ctx.Done()
	}
	return d
}

// neighbour is a member on the home page, with its pages that are for looking at.
type neighbour struct {
	Name  string
	Self  bool
	Pages []Page
}

// maxNeighbours bounds the home page of a large farm.
const maxNeighbours = 12

func (v *visit) neighbours() []neighbour {
	var all []neighbour
	index := make(map[string]int)
	for _, m := range v.Farm.Directory.Members() {
		if len(all) < maxNeighbours || m.Name == v.Name {
			index[m.Name] = len(all)
			all = append(all, neighbour{Name: m.Name, Self: m.Name == v.Name})
		}
	}
	for _, p := range v.Farm.Directory.Pages() {
		if i, ok := index[p.Member]; ok && p.View != Archive && p.View != End {
			all[i].Pages = append(all[i].Pages, p)
		}
	}
	return all
}

func (v *visit) whoamiJSON() error {
	body, err := json.Marshal(struct {
		User    string `json:"user"`
		Member  string `json:"member"`
		Page    string `json:"page"`
		Message string `json:"message"`
	}{v.grant.User, v.Name, v.page.Marker(), strings.ReplaceAll(UserEcho, "{user}", v.grant.User)})
	if err != nil {
		return fmt.Errorf("make page %s: %w", v.path, err)
	}
	v.respond(http.StatusOK, jsonType, body)
	return nil
}

func (v *visit) about() {
	if err := v.html(http.StatusOK, "about", "About this farm", nil); err != nil {
		v.fail(err)
	}
}

// archive serves the applet's bytes, with ranges and conditional requests. The
// request has been admitted by now, so 206 and 304 give away nothing (WF-12.4).
func (v *visit) archive() {
	body := v.applets[v.page.Path]
	v.prepare()
	h := v.w.Header()
	h.Set("Content-Type", "application/java-archive")
	h.Set("Etag", entityTag(body))
	http.ServeContent(keepHeaders{v.w}, v.r, "", time.Time{}, bytes.NewReader(body))
	v.note("respond", "browser", v.path, nil)
}

// keepHeaders keeps an answer with a token out of caches where ServeContent
// takes the header away, which it does on errors such as 416.
type keepHeaders struct{ http.ResponseWriter }

func (k keepHeaders) WriteHeader(status int) {
	k.Header()["Cache-Control"] = noStore
	k.ResponseWriter.WriteHeader(status)
}

// makeApplets returns the member's applet archives by path: small zip files
// with each page's marker, uncompressed, inside.
func makeApplets(pages []Page, member string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	for _, p := range pages {
		if p.Member != member || p.View != Archive {
			continue
		}
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, f := range []struct{ name, text string }{
			{"META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nCreated-By: farmspec\r\n\r\n"},
			{"marker.txt", p.Marker() + "\n"},
		} {
			w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store})
			if err == nil {
				_, err = w.Write([]byte(f.text))
			}
			if err != nil {
				return nil, fmt.Errorf("make applet %s: %w", p.Path, err)
			}
		}
		if err := z.Close(); err != nil {
			return nil, fmt.Errorf("make applet %s: %w", p.Path, err)
		}
		all[p.Path] = b.Bytes()
	}
	return all, nil
}
