// A loop without calls, but for those that the compiler puts in.
long polled_part(long n);
long polled_part(long n) {
  long sum = 0;
  for (long i = 0; i < n; ++i) {
    sum += i;
    asm volatile("" : "+r"(sum));
  }
  return sum;
}
