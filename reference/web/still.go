package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

// still is a page that its template has made once, in which nothing but the
// user's name and the old token's life differs between requests. To run the
// template each time would cost several times all the rest of a request.
type still struct {
	text []string // around the gaps
	gaps []rune   // one fewer than texts
}

// What stands in a gap while the template runs: characters for private use,
// which escaping in text leaves alone. Elsewhere it would not, and then the
// gap is not found, which a test notices.
const (
	userGap  = '\uE000'
	livedGap = '\uE001'
)

// stillKey is what a still depends on, within one member.
type stillKey struct {
	path             string
	handedOff, lived bool
}

// still answers an admitted request with a page whose content is the same for
// everybody; the new token travels with it.
func (v *visit) still(name, title string, content any) error {
	lived := v.lived()
	key := stillKey{v.path, v.handedOff, lived != ""}
	made, ok := v.stills.Load(key)
	if !ok {
		d := v.pageData(name, title, content)
		d.User = string(userGap)
		if key.lived {
			d.Lived = string(livedGap)
		}
		var b bytes.Buffer
		if err := templates[name].ExecuteTemplate(&b, "layout", d); err != nil {
			return fmt.Errorf("make page %s: %w", v.path, err)
		}
		made, _ = v.stills.LoadOrStore(key, newStill(b.String()))
	}
	b := pageBuffers.Get().(*bytes.Buffer)
	defer pageBuffers.Put(b)
	b.Reset()
	made.(*still).fill(b, template.HTMLEscapeString(v.grant.User), lived)
	v.respond(http.StatusOK, textHTML, b.Bytes())
	return nil
}

func newStill(page string) *still {
	s := new(still)
	for {
		i := strings.IndexAny(page, string(userGap)+string(livedGap))
		if i < 0 {
			s.text = append(s.text, page)
			return s
		}
		gap := []rune(page[i:])[0]
		s.text, s.gaps = append(s.text, page[:i]), append(s.gaps, gap)
		page = page[i+len(string(gap)):]
	}
}

func (s *still) fill(b *bytes.Buffer, user, lived string) {
	for i, gap := range s.gaps {
		b.WriteString(s.text[i])
		if gap == userGap {
			b.WriteString(user)
		} else {
			b.WriteString(lived)
		}
	}
	b.WriteString(s.text[len(s.gaps)])
}
