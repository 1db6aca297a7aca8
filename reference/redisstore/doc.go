// Package redisstore is the common session database on Redis. (to be written)
package redisstore
