package redisstore

import (
	"cmp"
	"strconv"

	"github.com/farmspec/farmspec/reference"
)

// KeyOf names a key for tests.
func KeyOf(prefix, parts, name string, id reference.ID) string {
	n, _ := strconv.Atoi(cmp.Or(parts, "1"))
	s := &Store{parts: partsOf(prefix, n)}
	return map[string]string{"ids": s.ofID(id).ids, "sessions": s.ofID(id).sessions}[name]
}
