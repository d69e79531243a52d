"""The pure core: values and functions without I/O, clock or asyncio. Time is an argument."""
