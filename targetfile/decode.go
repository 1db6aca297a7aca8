package targetfile

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/farmspec/farmspec"
)

// Problem is a fault of a target file: where it is, what is wrong, and how to
// mend it.
type Problem struct {
	File string
	Line int
	What string
	Mend string
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What)
	if p.Mend != "" {
		s += "; " + p.Mend
	}
	return s
}

// Problems is the error of a target file: every fault found, by line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Duration is a length of time, written like 90s or 30m.
type Duration time.Duration

// decoder fills Go values from a YAML tree and remembers the line of each.
type decoder struct {
	file     string
	problems Problems
	lines    map[string]int // by path, such as pages[1].member
}

func (d *decoder) fault(line int, mend, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, line, fmt.Sprintf(format, args...), mend})
}

// at reports a fault of the value at the path, or of what is around it.
func (d *decoder) at(path, mend, format string, args ...any) {
	d.fault(d.line(path), mend, format, args...)
}

// line is that of the value at the path, or of what is nearest around it.
func (d *decoder) line(path string) int {
	for {
		if n, ok := d.lines[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 1
		}
		path = path[:cut]
	}
}

func (d *decoder) read(content []byte, into any) {
	tree, err := parser.ParseBytes(content, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, what := 1, err.Error()
		if _, e := fmt.Sscanf(what, "[%d:", &line); e == nil {
			what = strings.TrimSpace(what[strings.Index(what, "]")+1:])
			what, _, _ = strings.Cut(what, "\n")
		}
		d.fault(line, "mend the YAML there", "it is no YAML: %s", what)
		return
	}
	var body ast.Node
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.fault(lineOf(doc.Body), "put it into a file of its own", "a second document begins here")
			return
		}
		body = doc.Body
	}
	if body == nil {
		d.fault(1, "`farmspec init` writes one to start from", "the file is empty")
		return
	}
	d.lines[""] = 1
	d.value(body, reflect.ValueOf(into).Elem(), "", "")
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

// value fills v from n. The tag is of the field that v is, or is an element of.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if _, ok := d.lines[path]; !ok {
		d.lines[path] = lineOf(n)
	}
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType:
		d.fault(lineOf(n), "write the value itself", "%s is an anchor, an alias or a tag", named(path))
		return
	}
	if v.Type() == reflect.TypeFor[Duration]() {
		text, ok := scalar(n)
		t, err := time.ParseDuration(text)
		if !ok || err != nil || t <= 0 {
			d.fault(lineOf(n), "write it like 90s, 30m or 12h", "%s is %s, not a length of time", named(path), shown(n))
			return
		}
		v.SetInt(int64(t))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, tag)
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path, tag)
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			d.fault(lineOf(n), "begin each entry with a dash", "%s is %s, not a list", named(path), shown(n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
		for i, item := range list.Values {
			d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), tag)
		}
	case reflect.Int:
		text, ok := scalar(n)
		i, err := strconv.Atoi(text)
		if !ok || err != nil || i < 0 {
			d.fault(lineOf(n), "write it in digits", "%s is %s, not a whole number", named(path), shown(n))
			return
		}
		v.SetInt(int64(i))
	case reflect.String:
		text, ok := scalar(n)
		if !ok {
			d.fault(lineOf(n), "write it in quotes", "%s is %s, not a text", named(path), shown(n))
			return
		}
		if words := strings.Fields(tag.Get("words")); len(words) > 0 {
			text = truth(n, text, words)
			if !slices.Contains(words, text) {
				d.fault(lineOf(n), "choose "+choice(words)+meant(text, words), "%s is %q", named(path), text)
				return
			}
		}
		v.SetString(text)
	default:
		panic("targetfile: a field of kind " + v.Kind().String())
	}
}

// truth spells a YAML boolean as one of the words yes and no.
func truth(n ast.Node, text string, words []string) string {
	if b, ok := n.(*ast.BoolNode); ok && slices.Contains(words, "yes") {
		if b.Value {
			return "yes"
		}
		return "no"
	}
	return text
}

// object fills a struct from a mapping: unknown keys, keys given twice and
// missing ones are faults.
func (d *decoder) object(n ast.Node, v reflect.Value, path string) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.fault(lineOf(n), "write its fields as key: value", "%s is %s, not a group of fields", named(path), shown(n))
		return
	}
	t := v.Type()
	var known []string
	fields := map[string]int{}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		known = append(known, key)
		fields[key] = i
	}
	first := map[string]int{}
	for _, pair := range pairs {
		key, line := keyOf(pair), lineOf(pair.Key)
		i, ok := fields[key]
		switch {
		case !ok:
			d.fault(line, remedy(key, known), "unknown field %q%s", key, within(path))
			continue
		case first[key] > 0:
			d.fault(line, "delete one of them", "%s is given twice, first on line %d", named(join(path, key)), first[key])
			continue
		}
		first[key] = line
		d.lines[join(path, key)] = line
		if empty(pair.Value) {
			d.fault(line, "give it a value or delete the line", "%s has no value", named(join(path, key)))
			continue
		}
		d.value(pair.Value, v.Field(i), join(path, key), t.Field(i).Tag)
	}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if t.Field(i).Tag.Get("need") == "yes" && first[key] == 0 {
			doc, _, _ := strings.Cut(t.Field(i).Tag.Get("doc"), ".")
			d.fault(d.line(path), fmt.Sprintf("add %s: %s", key, lower(doc)), "%s is missing%s", key, within(path))
		}
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.fault(lineOf(n), "write its entries as key: value", "%s is %s, not a group of entries", named(path), shown(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	known := strings.Fields(tag.Get("keys"))
	for _, pair := range pairs {
		key, line := keyOf(pair), lineOf(pair.Key)
		at := join(path, key)
		d.lines[at] = line
		switch {
		case len(known) > 0 && !slices.Contains(known, key):
			d.fault(line, remedy(key, known), "unknown entry %q%s", key, within(path))
			continue
		case v.MapIndex(reflect.ValueOf(key)).IsValid():
			d.fault(line, "delete one of them", "%s is given twice", named(at))
			continue
		case empty(pair.Value):
			d.fault(line, "give it a value or delete the line", "%s has no value", named(at))
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(pair.Value, item, at, tag)
		v.SetMapIndex(reflect.ValueOf(key), item)
	}
}

func pairsOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

func keyOf(pair *ast.MappingValueNode) string {
	if s, ok := scalar(pair.Key); ok {
		return s
	}
	return pair.Key.String()
}

func empty(n ast.Node) bool { return n == nil || n.Type() == ast.NullType }

// scalar is the text of a plain value, as it was written.
func scalar(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return s.GetToken().Value, true
	}
	return "", false
}

// shown describes a value without what may be secret in it.
func shown(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a group of fields"
	case *ast.SequenceNode:
		return "a list"
	}
	if text, ok := scalar(n); ok && len(text) <= 40 {
		return strconv.Quote(text)
	}
	return "a text"
}

func named(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func within(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func remedy(word string, known []string) string {
	if near := farmspec.Suggest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "known are " + strings.Join(known, ", ")
}

func meant(word string, known []string) string {
	if near := farmspec.Suggest(word, known); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
}

func choice(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func lower(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
