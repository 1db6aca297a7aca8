package features

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/farmspec/farmspec"
)

// The steps of the kinds of page: each way of asking for one.

func (w *world) registerPages(s stepper) {
	s.step(`(\w+), who has no session, asks for the `+kindPattern+` on server (\d+) (.+)`, w.strangerAsks)
	s.step(`(\w+), who has no session, asks for the headers of the `+kindPattern+` on server (\d+)`, func(ctx context.Context, who, kind string, server int) error {
		return w.strangerAsks(ctx, who, kind, server, "by its headers")
	})
	s.step(`(\w+) asks for the `+kindPattern+` on server (\d+) (with a range|on condition that it changed|by its headers)`, w.asksInAWay)
	s.step(`(\w+) asks for the `+kindPattern+` on server (\d+) with (.+) as path parameter`, w.asksWithPathParameter)
	s.step(`the page came at once, with a new token`, w.cameAtOnce)
}

// a way of asking: the requests it stands for.
func (w *world) requests(way string, m farmspec.Member, page farmspec.Page, tag string) ([]farmspec.Request, error) {
	at := m.At(page.Path)
	if parameter, ok := strings.CutPrefix(way, "with ;"); ok {
		return []farmspec.Request{{URL: at + ";" + parameter, Dest: "document"}, {URL: at + ";" + parameter}}, nil
	}
	switch way {
	case "plainly":
		return []farmspec.Request{{URL: at, Dest: "document"}, {URL: at}}, nil
	case "as a part of another page":
		return []farmspec.Request{{URL: at, Dest: "object"}, {URL: at, Dest: "image"}, {URL: at, Dest: "script"}, {URL: at, Dest: "iframe"}}, nil
	case "with a range":
		return []farmspec.Request{
			{URL: at, Header: http.Header{"Range": {"bytes=0-"}}},
			{URL: at, Header: http.Header{"Range": {"bytes=0-0,-200"}}},
		}, nil
	case "on condition that it changed":
		requests := []farmspec.Request{
			{URL: at, Header: http.Header{"If-Modified-Since": {w.now().UTC().Format(http.TimeFormat)}}},
			{URL: at, Header: http.Header{"If-None-Match": {"*"}}},
		}
		if tag != "" {
			requests = append(requests, farmspec.Request{URL: at, Header: http.Header{"If-None-Match": {tag}}})
		}
		return requests, nil
	case "by its headers":
		// On connections of their own: some farms send content after a HEAD,
		// which would be taken for the next answer.
		return []farmspec.Request{{Method: http.MethodHead, URL: at, NewConn: true}, {Method: http.MethodHead, URL: at, Dest: "document", NewConn: true}}, nil
	case "under other spellings of its address":
		var requests []farmspec.Request
		for _, path := range spellings(page.Path) {
			requests = append(requests, farmspec.Request{URL: m.URL + path, Dest: "document"})
		}
		return requests, nil
	}
	return nil, fmt.Errorf("ask for a page %s: no such way", way)
}

// spellings are paths that a careless server takes for the same one.
func spellings(path string) []string {
	i, j := strings.LastIndex(path, "/"), strings.LastIndex(path, ".")
	folder, file := path[:i], path[i+1:]
	out := []string{
		"/" + path, folder + "//" + file, folder + "/./" + file, folder + "/x/../" + file, folder + "/%2e/" + file,
		folder + "/%2f" + file, folder + "/" + strings.ToUpper(file), strings.ToUpper(path), path + "/", path + "%20",
		path + ".", path + "%00", path + ";", path + ";x=1", path + "/x", path + "?x", path + "%3fx", "/." + path,
	}
	if folder != "" {
		out = append(out, folder+"%2f"+file, folder+";x=1/"+file)
	}
	if file != "" {
		out = append(out, fmt.Sprintf("%s/%%%02x%s", folder, file[0], file[1:]))
	}
	if j > i {
		out = append(out, path[:j]+"%2e"+path[j+1:], path[:j]+"."+strings.ToUpper(path[j+1:]), path[:j])
	}
	return out
}

// strangerAsks asks in one way with a browser that has nothing at all. The
// witness is the page itself, served to who has a session.
func (w *world) strangerAsks(ctx context.Context, who, kind string, server int, way string) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	page, err := w.pageOn(kind, server)
	if err != nil {
		return err
	}
	fingerprint := asked(m, page)
	if way == "by way of server 1" {
		way, m = "plainly", w.target.Members[0]
		fingerprint = asked(m, page)
	}
	if err := w.witness(ctx, m, page); err != nil {
		return err
	}
	return w.strangerSends(ctx, who, page, m, way, fingerprint)
}

func (w *world) strangerSends(ctx context.Context, who string, page farmspec.Page, m farmspec.Member, way, fingerprint string) error {
	owner, err := w.ownerOf(ctx, "", false)
	if err != nil {
		return err
	}
	tag := ""
	if owner.last != nil && owner.last.page.Path == page.Path {
		tag = owner.last.final().Header.Get("Etag")
	}
	requests, err := w.requests(way, m, page, tag)
	if err != nil {
		return err
	}
	for _, r := range requests {
		b := w.newBrowser(who)
		r.KeepCookies = true
		x := b.Send(ctx, r)
		a := w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, owner, page, "nobody's")
		a.fingerprint, a.browser = fingerprint, b
		if r.Method == http.MethodHead && a.outcome == farmspec.Refused && x.Status/100 == 2 {
			a.outcome = w.headersOf(ctx, b, r, page)
		}
		if r.Header.Get("Range") != "" && x.Status == http.StatusPartialContent {
			a.outcome = farmspec.Accepted // a part of the page is the page
		}
		w.handoff.tries = append(w.handoff.tries, a)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// headersOf judges the good answer to a request for headers alone: they are
// the page's unless asking for the whole brings a good answer too, a log-in
// page for example.
func (w *world) headersOf(ctx context.Context, b *farmspec.Browser, r farmspec.Request, page farmspec.Page) farmspec.Outcome {
	r.Method = http.MethodGet
	x := b.Send(ctx, r)
	if x.Err != nil {
		return farmspec.NoAnswer
	}
	if x.Status/100 == 2 && !strings.Contains(string(x.Body), page.Marker) {
		return farmspec.Refused
	}
	return farmspec.Accepted
}

// asksInAWay asks as somebody who is signed in, of the server she is at.
func (w *world) asksInAWay(ctx context.Context, name, kind string, server int, way string) error {
	p, err := w.person(ctx, name)
	if err != nil {
		return err
	}
	m, err := w.member(server)
	if err != nil {
		return err
	}
	page, err := w.pageOn(kind, server)
	if err != nil {
		return err
	}
	tag := ""
	if p.last != nil {
		tag = p.last.final().Header.Get("Etag")
	}
	requests, err := w.requests(way, m, page, tag)
	if err != nil {
		return err
	}
	for _, r := range requests {
		r.KeepCookies = true
		x := p.browser.Send(ctx, r)
		a := w.judged(&farmspec.Visit{Exchanges: []*farmspec.Exchange{x}}, x.Err, p, page, asked(m, page))
		// The answer shows a part of the page, or none, so its status tells.
		if a.outcome == farmspec.Refused && x.Status/100 == 2 && (r.Method == http.MethodHead || x.Status == http.StatusPartialContent) {
			a.outcome = farmspec.Accepted
		}
		w.keepToken(p, m)
		w.acts.attempt = a
		if a.outcome != farmspec.Accepted {
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// asksWithPathParameter asks with what another farm might take for a session
// in the path (Jakarta Servlet 6.0, 7.1.3).
func (w *world) asksWithPathParameter(ctx context.Context, who, kind string, server int, what string) error {
	m, err := w.member(server)
	if err != nil {
		return err
	}
	page, err := w.pageOn(kind, server)
	if err != nil {
		return err
	}
	owner, err := w.ownerOf(ctx, "", false)
	if err != nil {
		return err
	}
	value := ""
	switch what {
	case "a made-up ID":
		value = strings.ToUpper(w.neverIssued().ID)
	case owner.name + "'s token":
		if w.target.Carrier.Kind == "path" {
			return &notOffered{"a path parameter is how this farm's browsers carry their session"}
		}
		value = owner.current().value
	case "an empty ID":
	default:
		return fmt.Errorf("ask with %s as path parameter: no such thing", what)
	}
	if err := w.witness(ctx, m, page); err != nil {
		return err
	}
	for _, name := range []string{"jsessionid", "JSESSIONID", w.target.Carrier.Name} {
		if err := w.strangerSends(ctx, who, page, m, "with ;"+name+"="+value, asked(m, page)); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) cameAtOnce() error {
	a := w.acts.attempt
	ok := len(a.exchanges()) == 1 && w.setsToken(a.final())
	return w.expect(ok, a.final(), "one answer, with the page and a new token",
		fmt.Sprintf("%d exchanges; new token: %s", len(a.exchanges()), yesNo(w.setsToken(a.final()))))
}
