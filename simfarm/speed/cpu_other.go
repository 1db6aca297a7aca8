//go:build !unix

package speed

import "time"

// ProcessCPU is not known here.
func ProcessCPU() time.Duration { return 0 }
