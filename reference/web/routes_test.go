package web

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

func TestEveryRouteIsDocumented(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	want, got := make(map[string]string), make(map[string]string)
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			want[path] += method
		}
	}
	for path, rt := range NewAPI(nil, APIOptions{}).(*api).routes {
		got[path] = rt.method
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-openapi.yaml +api):\n%s", diff)
	}
}
