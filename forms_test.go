package farmspec

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func shows(address, body string) *Exchange {
	return &Exchange{Method: "GET", URL: address, Status: 200, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte(body)}
}

func TestFormIsFilled(t *testing.T) {
	const login = `<form id=search action=/find><input name=q></form>
<form id=login method=POST action="in?next=%2F" ><input type=hidden name=csrf value="t&amp;1"><input name=user><input type=password name=pass>
<input type=checkbox name=stay checked><input type=checkbox name=spam><input type=radio name=kind value=a><input type=radio name=kind value=b checked>
<select name=lang><option>en<option value=de>Deutsch</select><select name=many multiple><option value=1><option value=2 selected><option value=3 selected></select>
<textarea name=note>
first
second</textarea><input name=off disabled value=x><input type=file name=file><input value=nameless><input type=reset name=r><button type=button name=js>x</button>
<fieldset disabled><legend><input name=legend value=1></legend><input name=gone></fieldset>
<button name=do value=login>in</button><input type=submit name=do value=register formaction=/register formmethod=get></form>
<input form=login name=outside value=1><template><form id=t></form></template>`
	for _, tc := range []struct {
		name, which   string
		values        map[string]string
		action, want  string
		method, wrong string
		why           string
	}{
		{name: "defaults", which: "login", action: "http://s1.farm.localhost/dir/in?next=%2F", method: "POST",
			want: "csrf=t%261&user=&pass=&stay=on&kind=b&lang=en&many=2&many=3&note=first%0D%0Asecond&file=&legend=1&do=login&outside=1",
			why:  "HTML, constructing the entry list: hidden kept, boxes as they are, the first button pressed, the page's order"},
		{name: "typed", values: map[string]string{"user": "ada", "pass": "p w~*é", "stay": "", "spam": "yes", "kind": "a", "lang": "de"}, method: "POST", action: "http://s1.farm.localhost/dir/in?next=%2F",
			want: "csrf=t%261&user=ada&pass=p+w%7E*%C3%A9&spam=yes&kind=a&lang=de&many=2&many=3&note=first%0D%0Asecond&file=&legend=1&do=login&outside=1",
			why:  "no form named: the first with all the fields; URL Standard 5.2 for the bytes"},
		{name: "another button", which: "1", values: map[string]string{"do": "register", "lang": "fr"}, method: "GET", action: "http://s1.farm.localhost/register",
			want: "csrf=t%261&user=&pass=&stay=on&kind=b&lang=fr&many=2&many=3&note=first%0D%0Asecond&file=&legend=1&do=register&outside=1",
			why:  "formaction and formmethod of the button pressed; an option the page does not have is sent all the same"},
		{name: "no such field", values: map[string]string{"login": "ada"}, wrong: `no form of the page has the field "login"`, why: "a recipe with a wrong field must be told"},
		{name: "no such form", which: "signin", wrong: `no form "signin" among its 2`, why: "and one with a wrong form"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := choose(Forms(shows(s1, login)), tc.which, tc.values)
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Fatalf("choose = %v, want %q (%s)", err, tc.wrong, tc.why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			f = f.fill(tc.values)
			if diff := cmp.Diff(tc.want, f.encode()); diff != "" {
				t.Errorf("encoded (-want +got), %s:\n%s", tc.why, diff)
			}
			if f.Action != tc.action || f.Method != tc.method {
				t.Errorf("%s %s, want %s %s (%s)", f.Method, f.Action, tc.method, tc.action, tc.why)
			}
		})
	}
	if got := Forms(shows(s1+"?q=1", `<base href="/b/"><form><input type=image name=i><input name=a></form>`))[0].fill(nil); got.Action != s1+"?q=1" || got.encode() != "i.x=0&i.y=0&a=" {
		t.Errorf("%s %s: an empty action is the page, whatever its base; an image tells where it was pressed", got.Action, got.encode())
	}
}

func TestPageAsks(t *testing.T) {
	for _, tc := range []struct{ name, at, body, want, why string }{
		{"kinds", s1, `<link rel=icon href=i><link rel="stylesheet" href=c><link rel="alternate stylesheet" href=no><link rel=next href=no>
<img src=g><img src=g><img src="data:,"><img src=""><script src=j></script><script src=m type=module></script><img crossorigin src=x>
<iframe src=f></iframe><object data=o></object><embed src=e><video src=v poster=p></video><input type=image src=b><a href=no>x</a>`,
			"image i,style c,image g,script j,script m anonymous,image x anonymous,iframe f,object o,embed e,video v,image p,image b", "each once, in order; links are not followed"},
		{"base", s1, `<base href="http://s2.farm.localhost/b/"><img src=g>`, "image http://s2.farm.localhost/b/g", "HTML, document base URL"},
		{"applet", s1, `<applet code="a.B.class" archive="x.jar, y.jar" codebase=lib></applet><applet code=Main.class></applet>`, "object lib/x.jar,object lib/y.jar,object Main.class", "HTML 4.01 13.4: archives, or else the class"},
		{"mixed", sealed, `<img src="http://other.test/x"><img src="http://s1.farm.localhost/y"><img src="//other.test/z">`, "image http://s1.farm.localhost/y,image https://other.test/z", "W3C Mixed Content 5: an https page gets nothing over http, loopback apart"},
		{"not shown", s1, `<template><img src=a></template><!-- <img src=b> --><noscript><img src=c></noscript>`, "image c", "no scripts run here, so noscript counts"},
	} {
		var got []string
		for _, r := range parsePage(shows(tc.at, tc.body)).resources() {
			line := r.dest + " " + strings.TrimPrefix(r.url.String(), "http://s1.farm.localhost/dir/")
			if r.cors != "" {
				line += " " + r.cors
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, ",")); diff != "" {
			t.Errorf("%s (-want +got), %s:\n%s", tc.name, tc.why, diff)
		}
	}
	x := shows(s1, `<img src=x>`)
	x.Header.Set("Content-Type", "text/plain")
	if r := parsePage(x).resources(); len(r) != 0 {
		t.Errorf("plain text asks for %d resources", len(r))
	}
	many := shows(s1, strings.Repeat(`<img src=x`, 1)+">"+strings.Repeat("<p>", 100)+strings.Repeat(`<img src="?`, 1)+`">`)
	for i := range 1000 {
		many.Body = append(many.Body, []byte("<img src="+strings.Repeat("x", i+1)+">")...)
	}
	if r := parsePage(many).resources(); len(r) != maxResources {
		t.Errorf("a page asks for %d resources, want the bound of %d", len(r), maxResources)
	}
}

// FuzzForms checks that no page breaks the parser, and that what it yields
// stays what it should be: absolute http addresses and encoded bytes.
func FuzzForms(f *testing.F) {
	f.Add(`<form action="\\x" method=post><input name=a value=1><select name=s><optgroup disabled><option>1</optgroup><option selected>2</select><button name=b>x</button></form>`)
	f.Add(`<base href="//["><form action="javascript:x"><textarea name=t>` + "\n\r" + `</textarea><input type=image></form><img src="http://[::1]/">`)
	f.Add(strings.Repeat("<div>", 600) + "<form><input name=x>")
	f.Fuzz(func(t *testing.T, body string) {
		p := parsePage(shows(s1, body))
		for _, form := range p.forms() {
			filled := form.fill(map[string]string{"a": "1", "s": "9"})
			if strings.ContainsAny(filled.encode(), " \r\n\x00<>\"") {
				t.Errorf("encoded as %q", filled.encode())
			}
		}
		for _, r := range p.resources() {
			if r.url.Scheme != "http" && r.url.Scheme != "https" || r.url.Hostname() == "" {
				t.Errorf("asks for %q", r.url)
			}
			if _, err := http.NewRequest("GET", r.url.String(), nil); err != nil {
				t.Errorf("asks for what cannot be sent: %v", err)
			}
		}
	})
}

func TestLinks(t *testing.T) {
	x := shows(s1, `<base href=/shop/><a href="login?next=%2F">in</a><a name=top>no link</a><map><area href=//s2.farm.localhost/></map>
<a href="mailto:ada@farm.localhost">mail</a><template><a href=/hidden>x</a></template><a href="#top">top</a>`)
	want := []string{
		"http://s1.farm.localhost/shop/login?next=%2F", // relative to the base
		"http://s2.farm.localhost/",
		"http://s1.farm.localhost/shop/#top", // what is no http address and what is in a template is left out
	}
	if diff := cmp.Diff(want, Links(x)); diff != "" {
		t.Errorf("Links (-want +got):\n%s", diff)
	}
	x.Header = http.Header{"Content-Type": {"application/json"}}
	if got := Links(x); got != nil {
		t.Errorf("Links of JSON = %q, want none", got)
	}
}
