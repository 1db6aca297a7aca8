package reports

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/farmspec/farmspec"
)

//go:embed results.schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of results.json. The slice is the
// caller's.
func Schema() []byte { return slices.Clone(schema) }

var compiled = sync.OnceValue(func() *jsonschema.Schema { return compile("results.schema.json", schema) })

// compile compiles an embedded schema.
func compile(name string, text []byte) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(err) // embedded; cannot leave the tests
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		panic(err)
	}
	return c.MustCompile(name)
}

// results renders results.json: a line for each field of the report, and for
// each element of its lists, so that lines can be searched and compared.
func results(v *view) (pieces [][]byte, err error) {
	add := func(before string, value any) error {
		text, err := line(value)
		pieces = append(pieces, []byte(before), bytes.Clone(text)) // without the room it grew in
		return err
	}
	report := reflect.ValueOf(complete(v.Report)).Elem()
	before := "{"
	for i := range report.NumField() {
		name, _, _ := strings.Cut(report.Type().Field(i).Tag.Get("json"), ",")
		before += fmt.Sprintf("\n %q: ", name)
		field := report.Field(i)
		if field.Kind() != reflect.Slice {
			if err := add(before, field.Interface()); err != nil {
				return nil, err
			}
			before = ","
			continue
		}
		before += "["
		for j := range field.Len() {
			if err := add(before+"\n  ", field.Index(j).Addr().Interface()); err != nil {
				return nil, err
			}
			before = ","
		}
		if field.Len() > 0 {
			before = ""
		}
		before += "\n ],"
	}
	return append(pieces, []byte(strings.TrimSuffix(before, ",")+"\n}\n")), nil
}

// line is a value as a line of results.json, without indentation and comma.
func line(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// complete returns a copy of the report in which every list the schema asks
// for is there, if empty.
func complete(r *farmspec.Report) *farmspec.Report {
	c := *r
	c.Schema = farmspec.ReportSchema
	c.Targets = slices.Clone(r.Targets)
	for i := range c.Targets {
		t := &c.Targets[i]
		t.Members, t.Hooks, t.Levels = list(t.Members), list(t.Hooks), list(t.Levels)
	}
	c.Results = slices.Clone(r.Results)
	for i := range c.Results {
		x := &c.Results[i]
		x.Requirements, x.Tags, x.Steps = list(x.Requirements), list(x.Tags), list(x.Steps)
	}
	c.Claims = slices.Clone(r.Claims)
	for i := range c.Claims {
		x := &c.Claims[i]
		x.Closure, x.Requirements = list(x.Closure), list(x.Requirements)
	}
	c.Targets, c.Plan, c.Results = list(c.Targets), list(c.Plan), list(c.Results)
	c.Requirements, c.Claims = list(c.Requirements), list(c.Claims)
	return &c
}

func list[E any](s []E) []E {
	if s == nil {
		return []E{}
	}
	return s
}

// Read reads a results.json that [Write] made. It is strict: a version it does
// not know, an unknown or missing field, a verdict outside the vocabulary, a
// cut file, or results that do not answer the plan are errors.
func Read(path string) (*farmspec.Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	r, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read results %s: %w", path, err)
	}
	return r, nil
}

// Parse reads the text of a results.json as strictly as [Read].
func Parse(text []byte) (*farmspec.Report, error) {
	var r farmspec.Report
	if err := decode(text, "report", "run", farmspec.ReportSchema, compiled(), &r); err != nil {
		return nil, err
	}
	if err := checkPlan(&r); err != nil {
		return nil, err
	}
	return &r, nil
}

// decode reads a file's JSON strictly. The noun says in errors what the file
// is, and the command what writes it.
func decode(text []byte, noun, command, version string, schema *jsonschema.Schema, into any) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the file ends early, after %d bytes; write it again with farmspec %s --out", len(text), command)
	case err != nil:
		return fmt.Errorf("not the JSON of a %s: %w", noun, err)
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return fmt.Errorf("not a %s: the file holds no JSON object", noun)
	}
	switch found := object["schema"]; found {
	case version:
	case nil:
		return fmt.Errorf("not a %s: it has no \"schema\"; expected %q", noun, version)
	default:
		return fmt.Errorf("unknown version %q; this farmspec reads %q", fmt.Sprint(found), version)
	}
	if err := schema.Validate(doc); err != nil {
		return violation(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// violation tells the first breach of the schema on one line.
func violation(err error) error {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return err
	}
	for len(v.Causes) > 0 {
		v = v.Causes[0]
	}
	// Error's first line names our schema's place, the second the file's.
	text := v.Error()
	if _, after, ok := strings.Cut(text, "\n- "); ok {
		text = after
	}
	return fmt.Errorf("the file breaks the schema: %s", oneLine(text))
}
