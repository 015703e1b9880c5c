#include "lamina/lamina.hpp"

int main(int argument_count, char** arguments) { return lamina::run(argument_count, arguments); }
