package farmspec

import (
	"bytes"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Form is a form of a page, its controls as the page fills them.
type Form struct {
	ID, Name string
	// Method is GET or POST; Action an absolute address; Enctype a media type.
	Method, Action, Enctype string
	// Fields are the controls that have a name and are not disabled, in the
	// page's order, buttons included.
	Fields []Field

	policy ReferrerPolicy // of rel=noreferrer
}

// Field is a control of a form.
type Field struct {
	Name, Value string
	// Type is the input's type, or "select", "textarea" or "submit" (a button).
	Type string
	// On says whether the control is sent: false for an unchecked box, an
	// option not chosen, a button not pressed.
	On bool

	action, method, enctype string // what the button overrides
}

// Has reports whether the form has a field of that name.
func (f Form) Has(name string) bool {
	return slices.ContainsFunc(f.Fields, func(fd Field) bool { return fd.Name == name })
}

// Forms returns the forms of the page that x brought, in its order: none if
// it is no HTML.
func Forms(x *Exchange) []Form { return parsePage(x).forms() }

// Links returns the absolute addresses of the links on the page that x
// brought, in its order: none if it is no HTML.
func Links(x *Exchange) []string {
	var all []string
	p := parsePage(x)
	for n := range p.elements() {
		if (n.DataAtom == atom.A || n.DataAtom == atom.Area) && has(n, "href") {
			if u := p.ref(attr(n, "href")); u != nil {
				all = append(all, u.String())
			}
		}
	}
	return all
}

// PolicyOf returns the referrer policy that a page sets for itself by header
// or <meta>; or that of its first reference to another origin, where each such
// reference has a policy of its own; or "".
func PolicyOf(x *Exchange) ReferrerPolicy {
	p := parsePage(x)
	if p.policy != "" {
		return p.policy
	}
	var first ReferrerPolicy
	for n := range p.elements() {
		to := p.ref(or(attr(n, "href"), attr(n, "src")))
		if to == nil || to.Scheme != "http" && to.Scheme != "https" || sameOrigin(p.url, to) {
			continue
		}
		own := p.elementPolicy(n)
		if own == "" {
			return ""
		}
		first = ReferrerPolicy(or(string(first), string(own)))
	}
	return first
}

// page is a document as far as this browser understands one: no scripts run.
type page struct {
	doc    *html.Node // nil if it is no HTML
	url    *url.URL
	base   *url.URL // what its references are relative to
	policy ReferrerPolicy
}

// parsePage reads the document an exchange brought. What is no HTML, or
// cannot be parsed, is a page without content.
func parsePage(x *Exchange) *page {
	u, err := parseURL(x.URL)
	if err != nil {
		u = new(url.URL)
	}
	p := &page{url: u, base: u, policy: headerPolicy(x.Header)}
	media, _, err := mime.ParseMediaType(x.Header.Get("Content-Type"))
	if err != nil && media == "" || media != "text/html" && media != "application/xhtml+xml" {
		return p
	}
	doc, err := html.ParseWithOptions(bytes.NewReader(x.Body), html.ParseOptionEnableScripting(false))
	if err != nil {
		return p
	}
	p.doc = doc
	based := false
	for n := range p.elements() {
		switch n.DataAtom {
		case atom.Base:
			if href := attr(n, "href"); href != "" && !based {
				based = true
				if b, err := parseURL(resolve(x.URL, href)); err == nil {
					p.base = b
				}
			}
		case atom.Meta:
			if strings.EqualFold(attr(n, "name"), "referrer") {
				if policy := metaPolicy(attr(n, "content")); policy != "" {
					p.policy = policy
				}
			}
		}
	}
	return p
}

// elements yields the document's elements in order, templates' contents left out.
func (p *page) elements() func(yield func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		if p.doc == nil {
			return
		}
		// A loop, not recursion: the nesting is the server's choice.
		for n := p.doc; n != nil; {
			if n.Type == html.ElementNode && !yield(n) {
				return
			}
			if n.FirstChild != nil && n.DataAtom != atom.Template {
				n = n.FirstChild
				continue
			}
			for n != nil && n.NextSibling == nil {
				n = n.Parent
			}
			if n != nil {
				n = n.NextSibling
			}
		}
	}
}

// ref is the absolute address of a reference on the page, or nil.
func (p *page) ref(s string) *url.URL {
	u, err := parseURL(resolve(p.base.String(), s))
	if err != nil {
		return nil
	}
	return u
}

// linkPolicy is the referrer policy of the page's link to u: the link's own
// if it has one (HTML, "follow the hyperlink").
func (p *page) linkPolicy(u *url.URL) ReferrerPolicy {
	for n := range p.elements() {
		if n.DataAtom != atom.A && n.DataAtom != atom.Area || !has(n, "href") {
			continue
		}
		if to := p.ref(attr(n, "href")); to != nil && to.String() == u.String() {
			return p.elementPolicy(n)
		}
	}
	return p.policy
}

// elementPolicy is the referrer policy for what the element asks for.
func (p *page) elementPolicy(n *html.Node) ReferrerPolicy {
	if noreferrer(n) {
		return NoReferrer
	}
	switch n.DataAtom {
	case atom.A, atom.Area, atom.Img, atom.Iframe, atom.Link, atom.Script:
		if policy := knownPolicy(attr(n, "referrerpolicy")); policy != "" {
			return policy
		}
	}
	return p.policy
}

func noreferrer(n *html.Node) bool {
	switch n.DataAtom {
	case atom.A, atom.Area, atom.Form:
		return slices.Contains(strings.Fields(strings.ToLower(attr(n, "rel"))), "noreferrer")
	}
	return false
}

// resource is something a page asks for by itself.
type resource struct {
	url    *url.URL
	dest   string // as Sec-Fetch-Dest has it
	cors   string // crossorigin: "", "anonymous" or "use-credentials"
	policy ReferrerPolicy
}

// maxResources bounds what one page may ask for.
const maxResources = 256

// resources are what a browser asks for when it shows the page, in order and
// each once. Mixed content is left out: an https page gets nothing over
// insecure http (W3C Mixed Content, section 5).
func (p *page) resources() []resource {
	var out []resource
	asked := make(map[string]bool)
	add := func(n *html.Node, ref, dest string) {
		if strings.TrimSpace(ref) == "" || len(out) == maxResources {
			return
		}
		u := p.ref(ref)
		if u == nil || p.url.Scheme == "https" && !trustworthy(u) {
			return
		}
		r := resource{url: u, dest: dest, policy: p.elementPolicy(n)}
		switch {
		case !slices.Contains([]atom.Atom{atom.Img, atom.Script, atom.Link, atom.Audio, atom.Video}, n.DataAtom):
		case strings.EqualFold(attr(n, "crossorigin"), "use-credentials"):
			r.cors = "use-credentials"
		case has(n, "crossorigin"), n.DataAtom == atom.Script && strings.EqualFold(attr(n, "type"), "module"):
			r.cors = "anonymous"
		}
		u.Fragment, u.RawFragment = "", ""
		if key := dest + " " + r.cors + " " + u.String(); !asked[key] {
			asked[key] = true
			out = append(out, r)
		}
	}
	for n := range p.elements() {
		switch n.DataAtom {
		case atom.Img:
			add(n, attr(n, "src"), "image")
		case atom.Input:
			if strings.EqualFold(attr(n, "type"), "image") {
				add(n, attr(n, "src"), "image")
			}
		case atom.Script:
			add(n, attr(n, "src"), "script")
		case atom.Link:
			rel := strings.Fields(strings.ToLower(attr(n, "rel")))
			switch {
			case slices.Contains(rel, "stylesheet") && !slices.Contains(rel, "alternate"):
				add(n, attr(n, "href"), "style")
			case slices.Contains(rel, "icon"):
				add(n, attr(n, "href"), "image")
			}
		case atom.Iframe:
			add(n, attr(n, "src"), "iframe")
		case atom.Frame:
			add(n, attr(n, "src"), "frame")
		case atom.Audio:
			add(n, attr(n, "src"), "audio")
		case atom.Video:
			add(n, attr(n, "src"), "video")
			add(n, attr(n, "poster"), "image")
		case atom.Embed:
			add(n, attr(n, "src"), "embed")
		case atom.Object:
			add(n, attr(n, "data"), "object")
		case atom.Applet:
			for _, ref := range appletFiles(n) {
				add(n, ref, "object")
			}
		}
	}
	return out
}

// appletFiles are the files of an applet: its archives, or else its class
// file, below its codebase (HTML 4.01, section 13.4).
func appletFiles(n *html.Node) []string {
	codebase := attr(n, "codebase")
	if codebase != "" && !strings.HasSuffix(codebase, "/") {
		codebase += "/"
	}
	var files []string
	for archive := range strings.SplitSeq(attr(n, "archive"), ",") {
		if archive = strings.TrimSpace(archive); archive != "" {
			files = append(files, codebase+archive)
		}
	}
	if code := strings.TrimSpace(attr(n, "code")); len(files) == 0 && code != "" {
		files = append(files, codebase+strings.ReplaceAll(strings.TrimSuffix(code, ".class"), ".", "/")+".class")
	}
	return files
}

// forms are the page's forms.
func (p *page) forms() []Form {
	var out []Form
	index := make(map[*html.Node]int)
	byID := make(map[string]int)
	for n := range p.elements() {
		if n.DataAtom != atom.Form {
			continue
		}
		f := Form{ID: attr(n, "id"), Name: attr(n, "name"), Method: method(attr(n, "method")), Action: p.action(attr(n, "action")), Enctype: enctype(attr(n, "enctype")), policy: p.elementPolicy(n)}
		index[n] = len(out)
		if _, taken := byID[f.ID]; f.ID != "" && !taken {
			byID[f.ID] = len(out)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil
	}
	// An element belongs to the form it names, else to the nearest around it.
	// Forms do not nest, and what is disabled is not there, so both are
	// tracked on the way down.
	for n := range p.elements() {
		fields := p.controls(n)
		if len(fields) == 0 || disabled(n) {
			continue
		}
		i, ok := 0, false
		if has(n, "form") {
			i, ok = byID[attr(n, "form")]
		} else {
			for a := n.Parent; a != nil && !ok; a = a.Parent {
				i, ok = index[a]
			}
		}
		if ok {
			out[i].Fields = append(out[i].Fields, fields...)
		}
	}
	return out
}

// controls are the fields an element contributes: for a select one for each
// option, for others one or none.
func (p *page) controls(n *html.Node) []Field {
	name := attr(n, "name")
	switch n.DataAtom {
	case atom.Input:
		f := Field{Name: name, Value: attr(n, "value"), Type: strings.ToLower(attr(n, "type")), On: true}
		switch f.Type {
		case "submit", "image":
			p.button(&f, n)
			return []Field{f}
		case "reset", "button":
			return nil
		case "checkbox", "radio":
			f.On = has(n, "checked")
			if !has(n, "value") {
				f.Value = "on"
			}
		case "file":
			f.Value = ""
		case "hidden":
			if strings.EqualFold(name, "_charset_") {
				f.Value = "UTF-8"
			}
		case "":
			f.Type = "text"
		}
		if name == "" {
			return nil
		}
		return []Field{f}
	case atom.Button:
		if t := strings.ToLower(attr(n, "type")); t == "reset" || t == "button" {
			return nil
		}
		f := Field{Name: name, Value: attr(n, "value"), Type: "submit"}
		p.button(&f, n)
		return []Field{f}
	case atom.Textarea:
		if name == "" {
			return nil
		}
		return []Field{{Name: name, Value: text(n), Type: "textarea", On: true}}
	case atom.Select:
		if name == "" {
			return nil
		}
		return options(n, name)
	}
	return nil
}

// button makes f a submit button, which is sent only when pressed.
func (p *page) button(f *Field, n *html.Node) {
	if f.On = false; f.Type != "image" {
		f.Type = "submit"
	}
	if has(n, "formaction") {
		f.action = p.action(attr(n, "formaction"))
	}
	if has(n, "formmethod") {
		f.method = method(attr(n, "formmethod"))
	}
	if has(n, "formenctype") {
		f.enctype = enctype(attr(n, "formenctype"))
	}
}

// options are the fields of a select: the chosen ones, or else the first of a
// drop-down list, are on.
func options(sel *html.Node, name string) []Field {
	var out []Field
	chosen := false
	var walk func(n *html.Node, off bool)
	walk = func(n *html.Node, off bool) {
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			switch c.DataAtom {
			case atom.Optgroup:
				walk(c, off || has(c, "disabled"))
			case atom.Option:
				if off || has(c, "disabled") {
					continue
				}
				value := strings.Join(strings.Fields(text(c)), " ")
				if has(c, "value") {
					value = attr(c, "value")
				}
				if on := has(c, "selected"); on && !has(sel, "multiple") {
					for i := range out {
						out[i].On = false // the last one selected wins
					}
				}
				out = append(out, Field{Name: name, Value: value, Type: "select", On: has(c, "selected")})
				chosen = chosen || has(c, "selected")
			}
		}
	}
	walk(sel, false)
	if !chosen && len(out) > 0 && !has(sel, "multiple") {
		out[0].On = true
	}
	return out
}

// action is the absolute address of a form's action: the page's own if empty.
func (p *page) action(s string) string {
	if strings.TrimSpace(s) == "" {
		return p.url.String()
	}
	return resolve(p.base.String(), s)
}

func method(s string) string {
	switch strings.ToLower(s) {
	case "post":
		return "POST"
	case "dialog":
		return "DIALOG"
	}
	return "GET"
}

const urlEncoded = "application/x-www-form-urlencoded"

func enctype(s string) string {
	switch s = strings.ToLower(s); s {
	case "multipart/form-data", "text/plain":
		return s
	}
	return urlEncoded
}

// disabled reports whether a control is, by itself or by a fieldset around it
// whose first legend it is not in.
func disabled(n *html.Node) bool {
	if has(n, "disabled") {
		return true
	}
	for child, a := n, n.Parent; a != nil; child, a = a, a.Parent {
		if a.DataAtom == atom.Fieldset && has(a, "disabled") && child != firstLegend(a) {
			return true
		}
	}
	return false
}

func firstLegend(fieldset *html.Node) *html.Node {
	for c := range fieldset.ChildNodes() {
		if c.DataAtom == atom.Legend {
			return c
		}
	}
	return nil
}

// choose finds a form: by index ("0"), ID or name. If which is empty it is
// the first one that has all the fields of values.
func choose(forms []Form, which string, values map[string]string) (Form, error) {
	if len(forms) == 0 {
		return Form{}, fmt.Errorf("the page has no form")
	}
	for _, f := range forms {
		if which != "" && (f.ID == which || f.Name == which) {
			return f, nil
		}
		if which == "" && lacks(f, values) == "" {
			return f, nil
		}
	}
	if which == "" {
		return Form{}, fmt.Errorf("no form of the page has the field %q", lacks(forms[0], values))
	}
	if i, err := strconv.Atoi(which); err == nil && i >= 0 && i < len(forms) {
		return forms[i], nil
	}
	return Form{}, fmt.Errorf("the page has no form %q among its %d", which, len(forms))
}

// lacks names a field of values, the first by name, that the form does not
// have, or "".
func lacks(f Form, values map[string]string) string {
	missing := ""
	for name := range values {
		if !f.Has(name) && (missing == "" || name < missing) {
			missing = name
		}
	}
	return missing
}

// fill returns a copy of the form with values typed in and its button
// pressed: the one that values names, or else the first.
//
// A value fills the first control of its name; of radio buttons and options
// it chooses the one with this value; a box it checks, or unchecks if empty.
// A value that no option has goes out all the same, as a hostile page or a
// changed page could have it.
func (f Form) fill(values map[string]string) Form {
	f.Fields = slices.Clone(f.Fields)
	pressed := -1
	done := make(map[string]bool)
	for i := range f.Fields {
		fd := &f.Fields[i]
		value, given := values[fd.Name]
		switch {
		case fd.isButton():
			if given && fd.Name != "" && fd.Value == value {
				pressed = i
			}
		case !given:
		case fd.Type == "radio" || fd.Type == "select":
			fd.On = fd.Value == value
			if fd.On {
				done[fd.Name] = true
			}
		case done[fd.Name]:
		case fd.Type == "checkbox":
			fd.On, done[fd.Name] = value != "", true
			if value != "" {
				fd.Value = value
			}
		default:
			fd.Value, done[fd.Name] = value, true
		}
	}
	for i := range f.Fields {
		fd := &f.Fields[i]
		if value, given := values[fd.Name]; given && !done[fd.Name] && (fd.Type == "radio" || fd.Type == "select") {
			fd.Value, fd.On, done[fd.Name] = value, true, true
		}
		if fd.isButton() && pressed < 0 {
			pressed = i
		}
	}
	if pressed >= 0 {
		b := &f.Fields[pressed]
		b.On = true
		f.Action, f.Method, f.Enctype = or(b.action, f.Action), or(b.method, f.Method), or(b.enctype, f.Enctype)
	}
	return f
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// encode is the form's data set as application/x-www-form-urlencoded, in the
// page's order (URL Standard, section 5.2).
func (f Form) encode() string {
	var b strings.Builder
	add := func(name, value string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(formEscape(name) + "=" + formEscape(value))
	}
	for _, fd := range f.Fields {
		switch {
		case !fd.On:
		case fd.Type == "image": // pressed at its corner
			prefix := ""
			if fd.Name != "" {
				prefix = fd.Name + "."
			}
			add(prefix+"x", "0")
			add(prefix+"y", "0")
		case fd.Name != "":
			add(fd.Name, fd.Value)
		}
	}
	return b.String()
}

func (fd Field) isButton() bool { return fd.Type == "submit" || fd.Type == "image" }

var (
	crlf     = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")
	formSafe = strings.NewReplacer("%2A", "*", "~", "%7E")
)

func formEscape(s string) string { return formSafe.Replace(url.QueryEscape(crlf.Replace(s))) }

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Namespace == "" && a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Namespace == "" && a.Key == name })
}

// text is the text directly within n.
func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.ChildNodes() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}
