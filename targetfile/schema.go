package targetfile

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"
)

// Schema is the JSON Schema (draft 2020-12) of target files, for editors.
//
//go:embed schema.json
var Schema []byte

// Example is an annotated target file, the one to start from.
//
//go:embed example.yaml
var Example []byte

const schemaURL = "https://farmspec.github.io/target.schema.json"

// schemaOf writes the JSON Schema of [File].
func schemaOf() ([]byte, error) {
	s := typeSchema(reflect.TypeFor[File](), "")
	s["$schema"], s["$id"] = "https://json-schema.org/draft/2020-12/schema", schemaURL
	s["title"] = "farmspec target file"
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(s)
	return out.Bytes(), err
}

func typeSchema(t reflect.Type, tag reflect.StructTag) map[string]any {
	switch {
	case t == reflect.TypeFor[Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`}
	case t.Kind() == reflect.Pointer:
		return typeSchema(t.Elem(), tag)
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "minItems": 1, "items": typeSchema(t.Elem(), tag)}
	case t.Kind() == reflect.Map:
		s := map[string]any{"type": "object", "additionalProperties": typeSchema(t.Elem(), tag)}
		if keys := strings.Fields(tag.Get("keys")); len(keys) > 0 {
			s["propertyNames"] = map[string]any{"enum": keys}
		}
		return s
	case t.Kind() == reflect.Int:
		return map[string]any{"type": "integer", "minimum": 0}
	case t.Kind() == reflect.String:
		words := strings.Fields(tag.Get("words"))
		switch {
		case tag.Get("form") == "secret":
			return map[string]any{"type": "string", "pattern": "^(env|file|text):."}
		case len(words) > 0 && words[0] == "yes":
			values := []any{true, false}
			for _, w := range words {
				values = append(values, w)
			}
			return map[string]any{"enum": values}
		case len(words) > 0:
			return map[string]any{"enum": words}
		}
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	}
	properties, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		p := typeSchema(f.Type, f.Tag)
		p["description"] = f.Tag.Get("doc")
		properties[f.Tag.Get("yaml")] = p
		if f.Tag.Get("need") == "yes" {
			required = append(required, f.Tag.Get("yaml"))
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}
