package targetfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// Describe is the file of a target, but for its accounts and hooks, which a
// target does not show. Read again it gives the same target.
func Describe(t *farmspec.Target) File {
	f := File{
		Name: t.Name, Product: Product{t.Product, t.Version, t.Artefact},
		Topology: string(t.Topology), Resolve: t.Resolve,
		Carrier: Carrier{t.Carrier.Kind, t.Carrier.Name}, Companions: t.Companions,
		Login: Login{string(t.Login.Kind), t.Login.Path, t.Login.UserField, t.Login.PassField},
		Echo:  t.UserEcho, MaxSessions: t.MaxSessions,
		Limits: Limits{Idle: Duration(t.Limits.Idle), Absolute: Duration(t.Limits.Absolute), Tolerance: Duration(t.Limits.Tolerance)},
		Account: AccountPages{
			SessionList(t.Account.Sessions), PasswordChange(t.Account.Password), Transaction(t.Account.Transaction),
		},
		Load: LoadTerms{int(t.MaxRate)}, Metrics: t.Metrics,
		Assurance: string(t.Assurance), Failover: string(t.Failover),
		Slow: pageEntry(t.Slow, false), Open: pageEntry(t.Open, false),
	}
	for _, m := range t.Members {
		f.Members = append(f.Members, MemberEntry{m.Name, m.URL})
	}
	if t.Handoff != farmspec.NoHandoff {
		p := t.HandoffParams
		f.Handoff = Handoff{string(t.Handoff), p.Sealed, p.ID, p.Timestamp}
	}
	if t.Rotation != farmspec.NoRotation {
		f.Rotation, f.Replay = Rotation{string(t.Rotation), Duration(t.Grace)}, string(t.Replay)
	}
	if t.Logout.Path != "" {
		f.Logout = Logout{t.Logout.Path, string(t.Logout.Kind), t.Logout.Form}
	}
	for _, p := range t.Pages {
		f.Pages = append(f.Pages, *pageEntry(&p, p.Kind != farmspec.Applet))
	}
	for _, a := range t.Apps {
		e := AppEntry{Name: a.Name, Path: a.Path, Member: a.Member, Marker: a.Marker, Field: a.Field, End: a.EndPath, Idle: Duration(a.Idle)}
		if a.Stays {
			e.Stays = "yes"
		}
		f.Apps = append(f.Apps, e)
	}
	if len(t.Features) > 0 {
		f.Features = map[string]string{}
		for name, s := range t.Features {
			f.Features[name] = string(s)
		}
	}
	return f
}

// pageEntry leaves out the echo where it is what is taken for granted.
func pageEntry(p *farmspec.Page, echo bool) *PageEntry {
	if p == nil {
		return nil
	}
	e := &PageEntry{Path: p.Path, Member: p.Member, Kind: string(p.Kind), Marker: p.Marker}
	if p.Echo != echo {
		e.Echo = map[bool]string{true: "yes", false: "no"}[p.Echo]
	}
	return e
}

// YAML is the file as one writes it: what is empty is left out.
func (f File) YAML() []byte {
	var b bytes.Buffer
	writeFields(&b, reflect.ValueOf(f), "", "")
	return b.Bytes()
}

// writeFields writes the fields of a struct that are not empty; the first
// line begins with first, the others with indent.
func writeFields(b *bytes.Buffer, v reflect.Value, first, indent string) {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() || (f.Kind() == reflect.Map || f.Kind() == reflect.Slice) && f.Len() == 0 {
			continue
		}
		b.WriteString(first)
		writeValue(b, v.Type().Field(i).Tag.Get("yaml"), f, indent)
		first = indent
	}
}

func writeValue(b *bytes.Buffer, key string, v reflect.Value, indent string) {
	b.WriteString(key + ":")
	switch {
	case v.Type() == reflect.TypeFor[Duration]():
		fmt.Fprintf(b, " %v\n", max(0, time.Duration(v.Int()))) // below zero is none, written 0s
	case v.Kind() == reflect.Pointer:
		b.WriteByte('\n')
		writeFields(b, v.Elem(), indent+"  ", indent+"  ")
	case v.Kind() == reflect.Struct:
		b.WriteByte('\n')
		writeFields(b, v, indent+"  ", indent+"  ")
	case v.Kind() == reflect.Slice:
		b.WriteByte('\n')
		for i := range v.Len() {
			if item := v.Index(i); item.Kind() == reflect.Struct {
				writeFields(b, item, indent+"  - ", indent+"    ")
			} else {
				fmt.Fprintf(b, "%s  - %s\n", indent, quoted(item.String()))
			}
		}
	case v.Kind() == reflect.Map:
		b.WriteByte('\n')
		names := v.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, name := range names {
			b.WriteString(indent + "  ")
			writeValue(b, quoted(name.String()), v.MapIndex(name), indent+"  ")
		}
	case v.Kind() == reflect.Int:
		fmt.Fprintf(b, " %d\n", v.Int())
	default:
		b.WriteString(" " + quoted(v.String()) + "\n")
	}
}

// quoted is a text in double quotes, as JSON and YAML both have it.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // no string fails
	}
	return string(text)
}
