//go:build !race

package loadtest_test

const raceDetector = false
