/* What time it is. */
#include "monitor.h"

#include <stdio.h>
#include <time.h>

int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/*
 * RFC 3339 with nanoseconds, UTC. Days to a date by Howard Hinnant's civil_from_days, with years that begin in March; the
 * C library's own way brings all of time zones and locales into the program.
 */
void format_time(char text[TIME_BYTES])
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	unsigned second = (unsigned)(now.tv_sec % 86400);
	uint64_t days = (uint64_t)(now.tv_sec / 86400) + 719468; /* since 0000-03-01 */
	unsigned era = (unsigned)(days / 146097), day_of_era = (unsigned)(days % 146097);
	unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned month = (5 * day_of_year + 2) / 153;
	unsigned day = day_of_year - (153 * month + 2) / 5 + 1;
	unsigned year = era * 400 + year_of_era + (month >= 10); /* January and February are the next year's */
	month += month < 10 ? 3 : -9;
	snprintf(text, TIME_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%09ldZ", year, month, day, second / 3600, second / 60 % 60,
		 second % 60, now.tv_nsec);
}
